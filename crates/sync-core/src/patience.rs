//! Patience within one invocation, or one command: a few tries that absorb a blip, before anything is
//! rescheduled.

use std::time::Duration;

use crate::failure::{Class, Failure};

/// Which failures are tried again at once, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries after the first.
    pub retries: u32,
    /// A throttle that asks for no more than this is waited for; zero leaves every throttle to the
    /// queue, which costs nothing while it waits.
    pub longest_wait: Duration,
}

/// Calls until it works, fails for good, or patience is used up. `jitter` gives milliseconds that are
/// added to each pause.
///
/// # Errors
/// The last failure, or the one before it where that opened a breaker.
pub async fn try_patiently<T, F>(
    patience: Patience,
    mut jitter: impl FnMut() -> u64,
    mut call: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (mut tries, mut earlier) = (0, None::<Failure>);
    loop {
        let failure = match call().await {
            Ok(done) => return Ok(done),
            // This very call's failures opened the breaker. They count: a row that always fails would
            // otherwise be waited for, and keep the breaker open, for ever.
            Err(failure) if matches!(failure.class, Class::TargetDown { .. }) => {
                return Err(earlier.unwrap_or(failure));
            }
            Err(failure) => failure,
        };
        let pause = match failure.class {
            // What may still take effect is not repeated at once: the repetition, and whatever is
            // delivered after it, would be overwritten by the first call when that arrives.
            _ if failure.lingers.is_some() => return Err(failure),
            Class::Transient => Duration::from_millis((50 << tries) + jitter()),
            Class::Throttled { retry_after } if retry_after <= patience.longest_wait => {
                retry_after + Duration::from_millis(jitter())
            }
            _ => return Err(failure),
        };
        if tries >= patience.retries {
            return Err(failure);
        }
        tries += 1;
        earlier = Some(failure);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::failure::Stage;

    async fn tries(class: Class, longest_wait: Duration) -> (u32, Duration) {
        let (mut calls, started) = (0, Instant::now());
        let patience = Patience {
            retries: 2,
            longest_wait,
        };
        let result = try_patiently(
            patience,
            || 7,
            || {
                calls += 1;
                async { Err::<(), _>(Failure::new(class, Stage::Fetch, "C", "m")) }
            },
        );
        assert!(result.await.is_err());
        (calls, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_still_take_effect_is_not_repeated_at_once() {
        let mut calls = 0;
        let patience = Patience {
            retries: 2,
            longest_wait: Duration::ZERO,
        };
        let silence =
            Failure::transient(Stage::Deliver, "C", "m").lingering(Duration::from_secs(9));
        let result = try_patiently(
            patience,
            || 7,
            || {
                calls += 1;
                let silence = silence.clone();
                async { Err::<(), _>(silence) }
            },
        );
        assert!(result.await.is_err());
        assert_eq!(calls, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_opened_the_breaker_itself_is_the_one_that_counts() {
        let patience = Patience {
            retries: 2,
            longest_wait: Duration::ZERO,
        };
        let down = Class::TargetDown {
            retry_after: Duration::from_secs(15),
        };
        let mut classes = vec![down, Class::Transient];
        let call = || {
            let class = classes.pop().unwrap_or(Class::Config);
            async move { Err::<(), _>(Failure::new(class, Stage::Deliver, "C", "m")) }
        };
        let failure = try_patiently(patience, || 0, call).await.unwrap_err();
        assert_eq!(failure.class, Class::Transient);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_tried_again_and_no_throttle_is_undercut() {
        let retry_after = Duration::from_secs(3);
        let (none, long) = (Duration::ZERO, Duration::from_secs(5));
        assert_eq!(tries(Class::Transient, none).await.0, 3);
        assert_eq!(tries(Class::Permanent, long).await.0, 1);
        assert_eq!(tries(Class::Config, long).await.0, 1);
        assert_eq!(tries(Class::Throttled { retry_after }, none).await.0, 1);
        let (calls, waited) = tries(Class::Throttled { retry_after }, long).await;
        assert_eq!(calls, 3);
        assert!(waited >= 2 * retry_after);
    }
}
