//! Asynchronous steps: what is posted to Service Bus after the save has returned.
//!
//! Jobs run side by side and in no promised order, as system jobs do.

mod bus;
mod endpoint;
mod outbox;

use std::collections::BTreeMap;
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

/// A notification on its way to Service Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundNotification {
    /// `MessageId`: the outbox id, for a native event a new one each time.
    pub message_id: String,
    /// `CorrelationId`.
    pub correlation_id: String,
    /// Logical name of the source table.
    pub table: String,
    /// W3C trace context of the save.
    pub traceparent: String,
    /// Application properties.
    pub properties: BTreeMap<String, String>,
    /// The notification, or the native event, as JSON.
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

/// One asynchronous job.
#[derive(Debug)]
pub(super) enum Posting {
    /// The plug-in's: an outbox row was created.
    Outbox {
        id: Uuid,
        /// When the save began.
        saved_at: OffsetDateTime,
        /// When the row was written.
        written_at: OffsetDateTime,
    },
    /// The platform's: a Service Bus endpoint is registered for what happened.
    Endpoint {
        message: OutboundNotification,
        /// How often it failed.
        failed: u32,
    },
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
        let (state, sender, stop) = (state.clone(), sender.clone(), stop.clone());
        tokio::spawn(async move {
            match job {
                Posting::Outbox {
                    id,
                    saved_at,
                    written_at,
                } => {
                    let times = outbox::Times {
                        saved_at,
                        written_at,
                    };
                    outbox::post(&state, sender.as_ref(), id, times).await;
                    state.job_done();
                }
                Posting::Endpoint { message, failed } => {
                    endpoint::post(&state, sender.as_ref(), message, failed, stop).await;
                }
            }
            drop(slot);
        });
    }
}
