//! Notifications of operation `resync` on the outbound queue, no more of them a second than was asked for.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use service_bus::{OutgoingMessage, Properties};
use sync_core::notification::{Notification, Operation};
use sync_core::sessions::session_id;
use sync_core::snapshot::RowKey;
use sync_core::topic::TARGET_SYSTEM;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::parts::Parts;

/// Sent at once.
const MOST_AT_ONCE: u32 = 50;

/// Posts them.
pub(super) struct Poster<'a> {
    parts: &'a Parts,
    rate: NonZeroU32,
    id: Uuid,
    sent: u64,
    began: Instant,
}

impl<'a> Poster<'a> {
    pub(super) fn new(parts: &'a Parts, rate: NonZeroU32) -> Self {
        Self {
            parts,
            rate,
            id: Uuid::new_v4(),
            sent: 0,
            began: Instant::now(),
        }
    }

    /// Names this resync.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// So many so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Posts one for each row; returns how many.
    pub(super) async fn post(&mut self, rows: Vec<RowKey>) -> anyhow::Result<u64> {
        let step = (self.rate.get() / 10).clamp(1, MOST_AT_ONCE) as usize;
        let mut posted = 0;
        for few in rows.chunks(step) {
            let due = self.sent as f64 / f64::from(self.rate.get());
            sleep_until(self.began + Duration::from_secs_f64(due)).await;
            let messages = few
                .iter()
                .map(|row| self.message(row))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let sends = messages
                .into_iter()
                .map(|message| self.parts.bus.send(&self.parts.entity, message));
            try_join_all(sends).await.with_context(|| {
                format!(
                    "sending to {} takes the right Send (Azure Service Bus Data Sender)",
                    self.parts.entity
                )
            })?;
            self.sent += few.len() as u64;
            posted += few.len() as u64;
        }
        Ok(posted)
    }

    fn message(&self, row: &RowKey) -> anyhow::Result<OutgoingMessage> {
        let id = Uuid::new_v5(&self.id, row.to_string().as_bytes());
        let notification = Notification {
            schema_version: 1,
            notification_id: id.to_string(),
            correlation_id: id.to_string(),
            table: row.table.clone(),
            source_row_id: row.id,
            operation: Operation::Resync,
            occurred_at: OffsetDateTime::now_utc(),
            row_version: None,
            pre_image: None,
        };
        let only_for = self.parts.only_for.iter();
        let only_for = only_for.map(|target| (TARGET_SYSTEM.to_owned(), target.as_str().into()));
        Ok(OutgoingMessage {
            body: serde_json::to_vec(&notification)?.into(),
            message_id: Some(notification.notification_id),
            correlation_id: Some(notification.correlation_id),
            session_id: self.parts.sessions.then(|| session_id(row)),
            content_type: Some("application/json".into()),
            properties: only_for.collect::<Properties>(),
            ..OutgoingMessage::default()
        })
    }
}
