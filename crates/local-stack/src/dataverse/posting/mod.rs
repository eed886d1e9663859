//! The plug-in's asynchronous step: post the notification, then delete the outbox row.
//!
//! It runs after the save has returned. What fails here is left on the outbox row, for the sweep.

mod bus;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use bus::BusSender;

use super::State;
use super::cell::{Cell, whole_second};
use super::faults::PostFault;
use super::steps::body_of;
use super::transaction::Transaction;

/// A notification on its way to Service Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundNotification {
    /// `MessageId`: the outbox id.
    pub message_id: String,
    /// `CorrelationId`.
    pub correlation_id: String,
    /// Logical name of the source table; application property `x-source-table`.
    pub table: String,
    /// W3C trace context; application properties `traceparent` and `Diagnostic-Id`.
    pub traceparent: String,
    /// The notification as JSON.
    pub body: Bytes,
}

/// Why a post failed, in words for the outbox row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PostFailed(pub String);

/// Where the asynchronous step posts to.
#[async_trait]
pub trait NotificationSender: Send + Sync {
    /// Posts one notification and waits until the broker has accepted it.
    async fn post(&self, notification: OutboundNotification) -> Result<(), PostFailed>;
}

/// One asynchronous job: an outbox row was created.
#[derive(Debug)]
pub(super) struct Posting {
    pub(super) outbox_id: Uuid,
    pub(super) traceparent: String,
}

/// Runs the jobs until stopped, so many at a time.
pub(super) async fn run(
    state: Arc<State>,
    sender: Arc<dyn NotificationSender>,
    mut jobs: UnboundedReceiver<Posting>,
    concurrency: usize,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(concurrency.max(1)));
    loop {
        let job = tokio::select! {
            () = stop.cancelled() => return,
            job = jobs.recv() => job,
        };
        let (Some(job), Ok(slot)) = (job, slots.clone().acquire_owned().await) else {
            return;
        };
        let (state, sender) = (state.clone(), sender.clone());
        tokio::spawn(async move {
            post(&state, sender.as_ref(), &job).await;
            state.job_done();
            drop(slot);
        });
    }
}

async fn post(state: &State, sender: &dyn NotificationSender, job: &Posting) {
    let (notification, fault) = {
        let mut inner = state.inner();
        let Some(notification) = read(state, &inner.store, job) else {
            // The sweep was faster.
            return;
        };
        (notification, inner.draw_post_fault())
    };
    let posted = match fault {
        PostFault::Fails => Err(PostFailed("a scripted fault".to_owned())),
        PostFault::None | PostFault::CrashesAfterwards => sender.post(notification).await,
    };
    let mut inner = state.inner();
    let failure = match posted {
        // As if the worker died here: the row stays, and the sweep will post it again.
        Ok(()) if fault == PostFault::CrashesAfterwards => {
            inner.journal.counters.posted += 1;
            return;
        }
        Ok(()) => None,
        Err(failure) => Some(failure),
    };
    match &failure {
        None => inner.journal.counters.posted += 1,
        Some(_) => inner.journal.counters.post_failures += 1,
    }
    settle(state, &mut inner.store, job.outbox_id, failure);
}

fn read(state: &State, store: &super::store::Store, job: &Posting) -> Option<OutboundNotification> {
    let outbox = state.schema.by_logical("dvs_outbox")?;
    let row = store.row(outbox, job.outbox_id)?;
    let text = |name| row.get(outbox, name).as_text().map(str::to_owned);
    Some(OutboundNotification {
        message_id: text("dvs_messageid").unwrap_or_else(|| job.outbox_id.to_string()),
        correlation_id: text("dvs_correlationid").unwrap_or_default(),
        table: text("dvs_table").unwrap_or_default(),
        traceparent: job.traceparent.clone(),
        body: body_of(outbox, row),
    })
}

/// Deletes the outbox row, or marks it for the sweep.
fn settle(state: &State, store: &mut super::store::Store, id: Uuid, failure: Option<PostFailed>) {
    const RETRY_WAIT: i64 = 3;
    let Some(outbox) = state.schema.by_logical("dvs_outbox") else {
        return;
    };
    let mut transaction = Transaction::begin(store);
    match failure {
        None => {
            transaction.remove(outbox, id);
        }
        Some(failure) => {
            let Some(mut row) = transaction.store().row(outbox, id).cloned() else {
                return;
            };
            let attempts = row.get(outbox, "dvs_attempts").as_int().unwrap_or(0) + 1;
            let reason: String = failure.to_string().chars().take(4000).collect();
            let next = whole_second(OffsetDateTime::now_utc() + state.retry_wait);
            for (name, cell) in [
                ("statuscode", Cell::Int(RETRY_WAIT)),
                ("dvs_lasterror", Cell::Text(reason)),
                ("dvs_attempts", Cell::Int(attempts)),
                ("dvs_nextattempton", Cell::Time(next)),
            ] {
                if let Some(index) = outbox.column(name) {
                    row.cells[index] = cell;
                }
            }
            transaction.write(outbox, row);
        }
    }
    transaction.commit();
}
