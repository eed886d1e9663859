//! Counts invocations that have started and not yet answered, so that a drain knows when it is done.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle on the number of running invocations. Clones count the same invocations.
#[derive(Clone, Debug)]
pub struct InFlight {
    count: Arc<watch::Sender<usize>>,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self {
            count: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Invocations running now.
    pub fn current(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no invocation runs. Returns at once when none does.
    pub async fn wait_for_zero(&self) {
        // The sender lives as long as `self`, so the only error (sender dropped) cannot happen.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Counts one invocation until the guard is dropped, also by a panic or a cancellation.
    pub(crate) fn enter(&self) -> InFlightGuard {
        self.count.send_modify(|count| *count += 1);
        InFlightGuard {
            count: Arc::clone(&self.count),
        }
    }
}

/// One running invocation.
pub(crate) struct InFlightGuard {
    count: Arc<watch::Sender<usize>>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_last_invocation_ends() {
        let in_flight = InFlight::new();
        in_flight.wait_for_zero().await;
        let (first, second) = (in_flight.enter(), in_flight.enter());
        assert_eq!(in_flight.current(), 2);
        drop(first);
        let waiter = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.wait_for_zero().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(second);
        waiter.await.unwrap();
        assert_eq!(in_flight.current(), 0);
    }
}
