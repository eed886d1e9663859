//! The identities requests are sent with: whose turn it is, and who has to wait.
//!
//! Dataverse limits each identity on its own, so several of them bear several times as much. A request
//! gets the least loaded identity that is not told to stay away; if there is none, it waits in a queue,
//! and reads and writes take turns in leaving theirs. A wait that is known to be longer than an
//! invocation should hold its message ends at once, as a throttle: the message waits on its own queue,
//! where it costs nothing.

mod governor;
mod rate;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

pub(super) use governor::Lesson;
pub use governor::Limit;
pub use rate::RequestLimit;
pub use state::IdentitySnapshot;

use crate::failure::{Failure, Stage};
use crate::metrics::metrics;
use state::{Next, State};

/// Reads and writes take turns, so that neither starves the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// All identities of a client.
#[derive(Debug, Clone)]
pub(super) struct Identities(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    longest_wait: Duration,
    changed: Notify,
}

impl Identities {
    /// One for each label; see [`IdentitySnapshot::label`].
    pub(super) fn new(labels: Vec<Arc<str>>, limit: RequestLimit, longest_wait: Duration) -> Self {
        let state = Mutex::new(State::new(labels, limit, Instant::now()));
        Self(Arc::new(Inner {
            state,
            longest_wait,
            changed: Notify::new(),
        }))
    }

    /// Waits for an identity that may send a request.
    ///
    /// # Errors
    /// A throttle, when none may within the longest wait.
    pub(super) async fn admit(&self, kind: Kind, stage: Stage) -> Result<Permit, Failure> {
        let longest = self.0.longest_wait;
        let waiting = {
            let mut state = self.state();
            let now = Instant::now();
            let closed = state.closed_for(now);
            if closed > longest {
                return Err(closed_off(stage, closed));
            }
            let (grant, granted) = oneshot::channel();
            state.wait(kind, grant);
            granted
        };
        self.pump();
        match timeout(longest, waiting).await {
            Ok(Ok(Ok(permit))) => Ok(permit),
            Ok(Ok(Err(closed))) => Err(closed_off(stage, closed)),
            Ok(Err(_)) | Err(_) => {
                let closed = self.state().closed_for(Instant::now());
                // Whoever waited that long for a turn met a busy identity, not a closed one.
                Err(closed_off(stage, closed.max(Duration::from_secs(1))))
            }
        }
    }

    /// Until a throttle, or the server's hint, has changed what an identity may do since the last call.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// How each identity fares.
    pub(super) fn snapshots(&self) -> Vec<IdentitySnapshot> {
        self.state().snapshots(Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what can be handed out, and sees to it that it is tried again when time alone will
    /// allow more.
    fn pump(&self) {
        loop {
            let next = self.state().next(Instant::now());
            match next {
                // The lock is free again: a permit whose waiter has left is dropped here, and its
                // release locks.
                Next::Grant(grant, identity, begun) => {
                    let permit = Permit {
                        identities: self.clone(),
                        identity,
                        begun,
                        ended: false,
                    };
                    drop(grant.send(Ok(permit)));
                }
                Next::At(at) => {
                    let identities = self.clone();
                    let wake = async move {
                        sleep_until(at).await;
                        identities.state().woken(at);
                        identities.pump();
                    };
                    // A permit may be dropped with its runtime: then nobody waits any more.
                    if let Ok(runtime) = Handle::try_current() {
                        runtime.spawn(wake);
                    }
                }
                Next::Nothing => return,
            }
        }
    }

    fn end(&self, identity: usize, begun: Instant, lesson: Lesson) {
        let now = Instant::now();
        let (turned_away, closed) = {
            let mut state = self.state();
            count(&state.label(identity), lesson);
            let changed = state.end(identity, begun, lesson, now);
            if changed {
                self.0.changed.notify_one();
            }
            let closed = state.closed_for(now);
            let turned_away = if closed > self.0.longest_wait {
                state.turn_away()
            } else {
                Vec::new()
            };
            (turned_away, closed)
        };
        for grant in turned_away {
            drop(grant.send(Err(closed)));
        }
        self.pump();
    }
}

/// For telemetry.
fn count(identity: &str, lesson: Lesson) {
    let (result, limit) = match lesson {
        Lesson::Served { .. } => ("served", None),
        Lesson::Throttled { limit, .. } => ("throttled", Some(limit)),
        Lesson::Nothing => ("failed", None),
    };
    let limit = limit.map(|limit| match limit {
        Limit::Window => "window",
        Limit::Concurrency => "concurrency",
    });
    metrics().dataverse_request(identity, result, limit);
}

fn closed_off(stage: Stage, retry_after: Duration) -> Failure {
    let text = format!(
        "Dataverse has to be left alone for another {} ms by every identity of this app.",
        retry_after.as_millis()
    );
    Failure::throttled(stage, "DataverseGate", retry_after, text)
}

/// The right to send one request with one identity. Dropped without a lesson, it only makes room.
#[derive(Debug)]
pub(super) struct Permit {
    identities: Identities,
    identity: usize,
    begun: Instant,
    ended: bool,
}

impl Permit {
    /// Which identity to send with.
    pub(super) fn identity(&self) -> usize {
        self.identity
    }

    /// The request has ended.
    pub(super) fn end(mut self, lesson: Lesson) {
        self.ended = true;
        self.identities.end(self.identity, self.begun, lesson);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.ended {
            self.identities
                .end(self.identity, self.begun, Lesson::Nothing);
        }
    }
}

#[cfg(test)]
mod tests;
