//! The outbox sweep: notifications that the plug-in could not post are posted from here.
//!
//! Claim, send, delete. Each step is conditional on the row being as it was after the step before, so
//! two sweepers, or a sweeper and the plug-in, never work on one row at once. A crash between send and
//! delete sends the notification again later, under the same message id.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use service_bus::{OutgoingMessage, Properties};
use time::OffsetDateTime;
use tracing::{error, warn};

use crate::failure::Failure;
use crate::notification::Notification;
use crate::ports::{Clock, Queue};

/// A notification that is not on the queue yet.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Primary key of the outbox row.
    pub id: uuid::Uuid,
    /// Condition for the next write.
    pub etag: String,
    /// The notification id, which becomes the broker's message id.
    pub message_id: String,
    /// Of the change.
    pub correlation_id: String,
    /// The notification's JSON.
    pub payload: String,
    /// Failed tries so far.
    pub attempts: u32,
}

/// The outbox table.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Rows that are due at `now`: waiting for a retry, or left behind by a crash before `stale`. Oldest
    /// first.
    async fn due(
        &self,
        now: OffsetDateTime,
        stale: OffsetDateTime,
    ) -> Result<Vec<OutboxRow>, Failure>;

    /// Takes a row for this sweeper until its lease ends; `None` when somebody else was faster.
    async fn claim(&self, row: &OutboxRow) -> Result<Option<OutboxRow>, Failure>;

    /// The notification is on the queue: the row goes. Not an error when it is gone already.
    async fn delete(&self, row: &OutboxRow) -> Result<(), Failure>;

    /// The notification could not be sent: the row keeps status and reason, and is due again at `next`;
    /// never again by itself when `next` is `None`.
    async fn keep(
        &self,
        row: &OutboxRow,
        reason: &str,
        next: Option<OffsetDateTime>,
    ) -> Result<(), Failure>;
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Notifications put on the queue.
    pub sent: u32,
    /// Rows that somebody else took first.
    pub lost_races: u32,
    /// Rows kept for a later sweep.
    pub kept: u32,
    /// Rows that no sweep can send; a person has to look.
    pub unusable: u32,
}

/// Rows younger than this belong to the plug-in's own asynchronous step.
const PLUG_IN_GRACE: Duration = Duration::from_secs(120);
/// Longest wait between two tries of one row.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// Sweeps the outbox into the outbound queue.
#[derive(Clone)]
pub struct Sweeper {
    outbox: Arc<dyn Outbox>,
    outbound: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
}

impl Sweeper {
    /// From `outbox` to `outbound`.
    pub fn new(outbox: Arc<dyn Outbox>, outbound: Arc<dyn Queue>, clock: Arc<dyn Clock>) -> Self {
        Self {
            outbox,
            outbound,
            clock,
        }
    }

    /// One sweep over what is due now.
    ///
    /// # Errors
    /// When the outbox cannot be read or written; what was sent so far is sent.
    pub async fn sweep(&self) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let now = self.clock.now();
        for row in self.outbox.due(now, now - PLUG_IN_GRACE).await? {
            let Some(row) = self.outbox.claim(&row).await? else {
                swept.lost_races += 1;
                continue;
            };
            if let Err(failure) = Notification::decode(row.payload.as_bytes()) {
                error!(
                    correlation_id = row.correlation_id, outbox.row = %row.id,
                    "outbox row {} cannot be sent: {failure}", row.id
                );
                self.outbox.keep(&row, &failure.message, None).await?;
                swept.unusable += 1;
                continue;
            }
            match self.outbound.send(message(&row)).await {
                Ok(()) => {
                    self.outbox.delete(&row).await?;
                    swept.sent += 1;
                }
                Err(e) => {
                    warn!(
                        correlation_id = row.correlation_id, outbox.row = %row.id,
                        outbox.attempts = row.attempts + 1, "outbox row {} stays: {e}", row.id
                    );
                    let next = self.clock.now() + wait(row.attempts);
                    self.outbox.keep(&row, &e.to_string(), Some(next)).await?;
                    swept.kept += 1;
                }
            }
        }
        Ok(swept)
    }
}

fn wait(attempts: u32) -> Duration {
    Duration::from_secs(5)
        .saturating_mul(1 << attempts.min(16))
        .min(LONGEST_WAIT)
}

fn message(row: &OutboxRow) -> OutgoingMessage {
    OutgoingMessage {
        body: row.payload.clone().into(),
        message_id: Some(row.message_id.clone()),
        correlation_id: Some(row.correlation_id.clone()),
        content_type: Some("application/json".into()),
        properties: Properties::new(),
        ..OutgoingMessage::default()
    }
}
