//! The platform's own asynchronous step: the event itself goes to a Service Bus endpoint.
//!
//! There is no outbox row to sweep: what fails waits as a system job and is tried again by the
//! platform, each time after a longer wait.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{NotificationSender, OutboundNotification, PostFailed, Posting};
use crate::dataverse::State;
use crate::dataverse::faults::PostFault;

/// The wait grows this many times.
const LONGER_WAITS: u32 = 6;

/// Posts an event; what fails is queued again after a while. Ends the job when it is posted.
pub(super) async fn post(
    state: &Arc<State>,
    sender: &dyn NotificationSender,
    message: OutboundNotification,
    failed: u32,
    stop: CancellationToken,
) {
    let fault = state.inner().draw_post_fault();
    let posted = match fault {
        PostFault::Fails => Err(PostFailed("a scripted fault".to_owned())),
        PostFault::None | PostFault::CrashesAfterwards => {
            // A job that posts again sends a new message with the same body.
            let message_id = Uuid::new_v4().to_string();
            sender
                .post(OutboundNotification {
                    message_id,
                    ..message.clone()
                })
                .await
        }
    };
    let done = posted.is_ok() && fault != PostFault::CrashesAfterwards;
    {
        let counters = &mut state.inner().journal.counters;
        match posted {
            Ok(()) => counters.posted += 1,
            Err(_) => counters.post_failures += 1,
        }
    }
    if done {
        state.job_done();
        return;
    }
    let wait = state.retry_wait * 2_u32.pow(failed.min(LONGER_WAITS));
    let state = state.clone();
    // In a task of its own: a job that waits takes up no slot.
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
        let job = Posting::Endpoint {
            message,
            failed: failed + 1,
        };
        let queued = state
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if !queued {
            state.job_done();
        }
    });
}
