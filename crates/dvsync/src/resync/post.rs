//! Notifications of operation `resync` on the outbound queue, no more of them a second than was asked for.

use std::num::NonZeroU32;

use futures_util::future::join_all;
use governor::{DefaultDirectRateLimiter, Quota};
use service_bus::{Error, ErrorClass, OutgoingMessage, Properties};
use sync_core::notification::{Notification, Operation};
use sync_core::sessions::session_id;
use sync_core::snapshot::RowKey;
use sync_core::topic::TARGET_SYSTEM;
use time::OffsetDateTime;
use uuid::Uuid;

use super::parts::Parts;

/// Sent at once.
const MOST_AT_ONCE: u32 = 50;

/// Posts them.
pub(super) struct Poster<'a> {
    parts: &'a Parts,
    rate: NonZeroU32,
    pace: DefaultDirectRateLimiter,
    id: Uuid,
    sent: u64,
}

impl<'a> Poster<'a> {
    pub(super) fn new(parts: &'a Parts, rate: NonZeroU32) -> Self {
        // One at a time, evenly: what is saved up while nothing differs is not spent at once.
        let quota = Quota::per_second(rate).allow_burst(NonZeroU32::MIN);
        Self {
            parts,
            rate,
            pace: DefaultDirectRateLimiter::direct(quota),
            id: Uuid::new_v4(),
            sent: 0,
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
            for _ in few {
                self.pace.until_ready().await;
            }
            let messages = few
                .iter()
                .map(|row| self.message(row))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let sends = messages
                .into_iter()
                .map(|message| self.parts.bus.send(&self.parts.entity, message));
            let mut failed = None;
            for sent in join_all(sends).await {
                match sent {
                    Ok(()) => posted += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if let Some(error) = failed {
                self.sent += posted;
                return Err(explain(error));
            }
        }
        self.sent += posted;
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

fn explain(error: Error) -> anyhow::Error {
    let fix = match error.class() {
        ErrorClass::Unauthorized => {
            "sending takes the role Azure Service Bus Data Sender (a new assignment takes some minutes), or a key with the right Send"
        }
        ErrorClass::NotFound => "are these the settings of an outbound-fn, and of this namespace?",
        _ => return error.into(),
    };
    anyhow::Error::new(error).context(fix)
}
