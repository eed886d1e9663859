//! The outbox sweep: notifications that the plug-in could not post are posted from here.
//!
//! Claim, send, delete. Each step is conditional on the row being as it was after the step before, so
//! two sweepers, or a sweeper and the plug-in, never work on one row at once. A crash between send and
//! delete sends the notification again later, under the same message id.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use opentelemetry::KeyValue;
use service_bus::{OutgoingMessage, Properties};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{Instrument as _, error, warn};

use crate::failure::Failure;
use crate::metrics::metrics;
use crate::notification::Notification;
use crate::patience::{Patience, try_patiently};
use crate::ports::{Clock, Queue, SharedRng, jitter_ms};
use crate::sessions::session_id;
use crate::trace;

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
    /// Rows whose next attempt is due at `now`, oldest first. A row that the plug-in or another sweeper
    /// is working on is due once that lease has ended, which is how a crash of either is found.
    async fn due(&self, now: OffsetDateTime) -> Result<Vec<OutboxRow>, Failure>;

    /// Takes a row for this sweeper until `lease`; `None` when somebody else was faster.
    async fn claim(
        &self,
        row: &OutboxRow,
        lease: OffsetDateTime,
    ) -> Result<Option<OutboxRow>, Failure>;

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
    /// Rows kept for a later sweep: the queue or Dataverse failed.
    pub kept: u32,
    /// Rows that no sweep can send; a person has to look.
    pub unusable: u32,
}

impl Swept {
    fn count(&mut self, done: Done) {
        let (number, result) = match done {
            Done::Sent => (&mut self.sent, "sent"),
            Done::LostRace => (&mut self.lost_races, "lost_race"),
            Done::Kept => (&mut self.kept, "kept"),
            Done::Unusable => (&mut self.unusable, "unusable"),
        };
        *number += 1;
        metrics().swept.add(1, &[KeyValue::new("result", result)]);
    }
}

/// Longest wait between two tries of one row.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// Rows worked on at once: after an outage of the bus they are many, and their requests to Dataverse
/// merge into pages.
const AT_ONCE: usize = 50;
/// A sweep has nobody waiting for it, so it waits for a throttle itself; the next sweep finds what this
/// one leaves.
const PATIENCE: Patience = Patience {
    retries: 3,
    longest_wait: Duration::from_secs(20),
};

/// Sweeps the outbox into the outbound queue.
#[derive(Clone)]
pub struct Sweeper {
    outbox: Arc<dyn Outbox>,
    outbound: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    rng: SharedRng,
    lease: Duration,
    deadline: Duration,
    sessions: bool,
}

impl Sweeper {
    /// From `outbox` to `outbound`. A row that was claimed is left to its sweeper for `lease`.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        outbound: Arc<dyn Queue>,
        clock: Arc<dyn Clock>,
        rng: SharedRng,
        lease: Duration,
    ) -> Self {
        Self {
            outbox,
            outbound,
            clock,
            rng,
            lease,
            deadline: Duration::from_secs(60),
            sessions: false,
        }
    }

    /// Whether each notification goes into the session of its row.
    #[must_use]
    pub fn with_sessions(mut self, sessions: bool) -> Self {
        self.sessions = sessions;
        self
    }

    /// A sweep takes no new row after `deadline`. Must be shorter than the host's functionTimeout, whose
    /// end kills the process and the acknowledgements in it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn patiently<T, F>(&self, call: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        try_patiently(PATIENCE, || jitter_ms(&self.rng), call).await
    }

    /// One sweep over what is due now, page by page. A row that fails does not keep the others waiting;
    /// a queue that cannot be reached ends the sweep, after what is under way.
    ///
    /// # Errors
    /// When the outbox cannot be read at all.
    pub async fn sweep(&self) -> Result<Swept, Failure> {
        let (mut swept, until) = (Swept::default(), Instant::now() + self.deadline);
        loop {
            let before = swept;
            let due = self.patiently(|| self.outbox.due(self.clock.now())).await?;
            let more = self.page(due, until, &mut swept).await;
            // Without progress the next page would be this one again.
            if !more || swept == before {
                return Ok(swept);
            }
        }
    }

    /// Returns whether another page may be taken.
    async fn page(&self, due: Vec<OutboxRow>, until: Instant, swept: &mut Swept) -> bool {
        let stopped = &AtomicBool::new(false);
        let worked = stream::iter(due).map(|row| async move {
            // Rows that wait for their turn are left where they are once there is no point in it.
            if Instant::now() >= until {
                stopped.store(true, Ordering::Relaxed);
            }
            if stopped.load(Ordering::Relaxed) {
                return None;
            }
            let span = trace::sweep(&row.correlation_id);
            let done = self.one(&row).instrument(span.clone()).await;
            match &done {
                Ok(Done::Sent | Done::LostRace) => trace::ended(&span, Ok(())),
                Ok(Done::Kept | Done::Unusable) => trace::ended(&span, Err("stays in the outbox")),
                Err(failure) => trace::failed(&span, failure),
            }
            if matches!(done, Ok(Done::Kept)) {
                stopped.store(true, Ordering::Relaxed);
            }
            Some((row, done))
        });
        let mut worked = pin!(worked.buffer_unordered(AT_ONCE));
        while let Some(done) = worked.next().await {
            let Some((row, done)) = done else { continue };
            swept.count(done.unwrap_or_else(|failure| {
                // Whatever was half done is found again when the lease has ended.
                warn!(
                    correlation_id = row.correlation_id, outbox.row = %row.id, failure.code,
                    "outbox row {} is left to a later sweep: {failure}", row.id
                );
                Done::Kept
            }));
        }
        !stopped.load(Ordering::Relaxed)
    }

    async fn one(&self, row: &OutboxRow) -> Result<Done, Failure> {
        let lease = self.clock.now() + self.lease;
        let Some(row) = self.patiently(|| self.outbox.claim(row, lease)).await? else {
            return Ok(Done::LostRace);
        };
        let notification = match Notification::decode(row.payload.as_bytes()) {
            Ok(notification) => notification,
            Err(failure) => {
                error!(
                    correlation_id = row.correlation_id, outbox.row = %row.id, failure.code,
                    "outbox row {} cannot be sent: {failure}", row.id
                );
                self.patiently(|| self.outbox.keep(&row, &failure.message, None))
                    .await?;
                return Ok(Done::Unusable);
            }
        };
        let session = self.sessions.then(|| session_id(&notification.row()));
        match self.outbound.send(message(&row, session)).await {
            Ok(()) => {
                self.patiently(|| self.outbox.delete(&row)).await?;
                Ok(Done::Sent)
            }
            Err(e) => {
                warn!(
                    correlation_id = row.correlation_id, outbox.row = %row.id,
                    outbox.attempts = row.attempts + 1, "outbox row {} stays: {e}", row.id
                );
                let (reason, next) = (e.to_string(), self.clock.now() + wait(row.attempts));
                self.patiently(|| self.outbox.keep(&row, &reason, Some(next)))
                    .await?;
                Ok(Done::Kept)
            }
        }
    }
}

enum Done {
    Sent,
    LostRace,
    Kept,
    Unusable,
}

fn wait(attempts: u32) -> Duration {
    Duration::from_secs(5)
        .saturating_mul(1 << attempts.min(16))
        .min(LONGEST_WAIT)
}

fn message(row: &OutboxRow, session_id: Option<String>) -> OutgoingMessage {
    OutgoingMessage {
        body: row.payload.clone().into(),
        message_id: Some(row.message_id.clone()),
        correlation_id: Some(row.correlation_id.clone()),
        session_id,
        content_type: Some("application/json".into()),
        properties: Properties::new(),
        ..OutgoingMessage::default()
    }
}
