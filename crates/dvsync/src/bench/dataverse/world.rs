//! What the passes work with while they are measured: tokens, a target in memory, queues in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use service_bus::{OutgoingMessage, Properties};
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::credentials::{Secret, TokenSource};
use sync_core::failure::Failure;
use sync_core::message::Message;
use sync_core::ports::{Change, Delivery, Queue, Receipt, Target};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use uuid::Uuid;

/// An identity whose token the stand-in takes for its name.
pub(super) struct Named(pub(super) String);

#[async_trait]
impl TokenSource for Named {
    async fn token(&self, _: &str) -> Result<Secret, Failure> {
        Ok(Secret::new(self.0.as_str()))
    }

    fn forget(&self, _: &str) {}
}

pub(super) fn named(count: usize) -> Vec<Arc<dyn TokenSource>> {
    (0..count)
        .map(|n| Arc::new(Named(format!("identity-{n}"))) as _)
        .collect()
}

pub(super) fn sync_config() -> anyhow::Result<Arc<SyncConfig>> {
    let text = local_stack::apps::sync_json();
    Ok(Arc::new(SyncConfig::parse(text, "sync.json")?))
}

/// A target that takes some milliseconds and remembers how often each row was delivered.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) upserts: Mutex<HashMap<Uuid, u32>>,
}

const CALL: Duration = Duration::from_millis(5);

#[async_trait]
impl Target for Memory {
    async fn deliver(&self, _: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        tokio::time::sleep(CALL).await;
        if matches!(delivery.change, Change::Upsert(_)) {
            *lock(&self.upserts).entry(delivery.row.id).or_default() += 1;
        }
        Ok(Receipt {
            target_row_id: Some(delivery.row.id.to_string()),
        })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue that hands on what is sent to it.
pub(super) struct Pipe(pub(super) mpsc::UnboundedSender<Message>);

#[async_trait]
impl Queue for Pipe {
    async fn send(&self, message: OutgoingMessage) -> Result<(), service_bus::Error> {
        // Nobody listens any more only when the run has ended.
        let _: Result<_, _> = self.0.send(received(message));
        Ok(())
    }

    async fn dead_letter(
        &self,
        _: Uuid,
        _: &str,
        _: &str,
        _: Properties,
    ) -> Result<(), service_bus::Error> {
        Ok(())
    }
}

/// A message as the trigger would hand it over.
pub(super) fn received(message: OutgoingMessage) -> Message {
    Message {
        body: message.body,
        message_id: message.message_id.unwrap_or_default(),
        correlation_id: message.correlation_id,
        lock_token: Uuid::new_v4(),
        delivery_count: 1,
        enqueued_time: OffsetDateTime::now_utc(),
        session_id: None,
        content_type: message.content_type,
        subject: message.subject,
        properties: message.properties,
    }
}
