//! How much one instance asks of the target: rows under way at once, and calls by time.

use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::config::TargetLimits;
use crate::failure::{Failure, Stage};

/// The runtime's clock, which tests hold still.
#[derive(Debug, Clone)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Instant>>;

/// The limits, and who keeps to them.
pub(super) struct Limits {
    slots: Semaphore,
    rate: Option<Limiter>,
    /// Held by whoever waits for the rate, so that callers go in the order in which they came.
    turn: Mutex<()>,
    max_wait: Duration,
}

impl Limits {
    pub(super) fn new(limits: &TargetLimits) -> Self {
        let rate = limits.rate.as_ref().and_then(|rate| {
            let quota = Quota::with_period(rate.interval)?.allow_burst(rate.burst);
            Some(Limiter::direct_with_clock(quota, RuntimeClock))
        });
        Self {
            slots: Semaphore::new(limits.max_concurrent),
            rate,
            turn: Mutex::new(()),
            max_wait: limits.max_wait,
        }
    }

    /// The right to work on one row until it is dropped.
    pub(super) async fn slot(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let waited = tokio::time::timeout(self.max_wait, self.slots.acquire()).await;
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(self.waited_in_vain("maxConcurrent", self.max_wait)),
        }
    }

    /// Waits until one more call may be made.
    pub(super) async fn call(&self) -> Result<(), Failure> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        let turn = async {
            let _turn = self.turn.lock().await;
            // Nobody else asks meanwhile, so this goes round once, but for timers that wake up early.
            while let Err(not_until) = rate.check() {
                let wait = not_until.wait_time_from(RuntimeClock.now());
                tokio::time::sleep(wait).await;
            }
        };
        let waited = tokio::time::timeout(self.max_wait, turn).await;
        waited.map_err(|_| self.waited_in_vain("requestsPerSecond", self.max_wait))
    }

    /// Not counted as an attempt: nothing was wrong with the row, and nothing was sent.
    fn waited_in_vain(&self, key: &str, wait: Duration) -> Failure {
        let text = format!(
            "The row waited {:?} for its turn at the target. If this lasts, target.{key} in the sync file is too low for the load.",
            self.max_wait
        );
        Failure::throttled(Stage::Deliver, "TargetLimit", wait, text)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use super::*;
    use crate::config::Rate;
    use crate::failure::Class;

    fn limits(max_concurrent: usize, rate: Option<(u64, u32)>) -> Arc<Limits> {
        let rate = rate.map(|(ms, burst)| Rate {
            interval: Duration::from_millis(ms),
            burst: NonZeroU32::new(burst).unwrap(),
        });
        Arc::new(Limits::new(&TargetLimits {
            max_concurrent,
            rate,
            max_wait: Duration::from_secs(10),
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn calls_beyond_the_burst_come_one_interval_apart() {
        let limits = limits(1, Some((100, 3)));
        let started = tokio::time::Instant::now();
        let mut at = Vec::new();
        for _ in 0..6 {
            limits.call().await.unwrap();
            at.push(started.elapsed().as_millis());
        }
        // The clock stands still but for our own waits, and the runtime's timers have milliseconds.
        assert_eq!(&at[..3], [0, 0, 0]);
        for (calls, at) in at[3..].iter().enumerate() {
            let due = 100 * (calls as u128 + 1);
            assert!((due..=due + 3).contains(at), "{at} for {due}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_too_long_is_put_off_without_counting() {
        let limits = limits(1, Some((60_000, 1)));
        limits.call().await.unwrap();
        let failure = limits.call().await.unwrap_err();
        assert!(
            matches!(failure.class, Class::Throttled { .. }),
            "{failure}"
        );
        assert!(failure.message.contains("target.requestsPerSecond"));
    }

    #[tokio::test(start_paused = true)]
    async fn one_row_more_than_allowed_waits_until_another_is_done() {
        let limits = limits(2, None);
        let first = limits.slot().await.unwrap();
        let _second = limits.slot().await.unwrap();
        let failure = limits.slot().await.map(|_| ()).unwrap_err();
        assert!(
            failure.message.contains("target.maxConcurrent"),
            "{failure}"
        );
        drop(first);
        drop(limits.slot().await.unwrap());
    }
}
