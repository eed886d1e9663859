//! The decision: what becomes of a message, given how its attempt went. Pure.

use std::time::Duration;

use rand::RngCore;
use time::OffsetDateTime;

use crate::failure::{Class, Failure};
use crate::policy::RetryPolicy;

/// What is known about the attempt that just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Counted retries before this attempt (`RetryCount`; 0 on the first).
    pub retry_count: u32,
    /// When the notification first reached the queue.
    pub first_enqueued_at: OffsetDateTime,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Disposition {
    /// Done: the host completes it.
    Complete,
    /// A scheduled copy is sent, then the message is completed.
    Reschedule {
        /// How long the copy stays invisible.
        delay: Duration,
        /// Whether the copy's `RetryCount` is one higher.
        counts: bool,
    },
    /// The message moves to the dead-letter queue.
    DeadLetter {
        /// Stable reason code, `DeadLetterReason` on the message.
        reason: &'static str,
        /// What happened and what to do about it, `DeadLetterErrorDescription` on the message.
        description: String,
    },
}

impl Disposition {
    /// The name used in logs and counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Reschedule { .. } => "reschedule",
            Self::DeadLetter { .. } => "dead_letter",
        }
    }
}

/// Reason code of a message whose counted retries are used up.
pub const RETRIES_EXHAUSTED: &str = "RetriesExhausted";
/// Reason code of a message that has been retried for longer than the policy's age.
pub const TOO_OLD: &str = "MaxAgeExceeded";

/// Decides what becomes of a message.
///
/// - Only [`Class::Transient`] failures count and can use up the retries or the age: a long outage
///   that is recognised as such ([`Class::Throttled`], [`Class::TargetDown`], [`Class::Config`]) must
///   not empty the queue into the dead-letter queue.
/// - A [`Class::Waiting`] failure does not count either, but ages.
/// - No delay is shorter than what the other side asked for, or than a call without an answer may still
///   take effect: the retry repairs what that call overwrites, so it has to come after it.
/// - A [`Class::Permanent`] failure costs exactly one attempt.
pub fn decide(
    attempt: &Attempt,
    outcome: Result<(), &Failure>,
    policy: &RetryPolicy,
    now: OffsetDateTime,
    rng: &mut dyn RngCore,
) -> Disposition {
    let Err(failure) = outcome else {
        return Disposition::Complete;
    };
    match failure.class {
        Class::Permanent => Disposition::DeadLetter {
            reason: failure.code,
            description: failure.to_string(),
        },
        Class::Throttled { retry_after } | Class::TargetDown { retry_after } => {
            Disposition::Reschedule {
                delay: policy.obey(retry_after, rng),
                counts: false,
            }
        }
        // The row it waits for may stand in a backlog of any length, so no number of retries says that it
        // will never come. Age does: it leaves out the waits for a system that is down.
        Class::Waiting if now - attempt.first_enqueued_at > policy.max_age() => {
            Disposition::DeadLetter {
                reason: failure.code,
                description: format!(
                    "Waited for longer than retry.maxAgeHours: {failure}. Once its cause is gone, resend the message."
                ),
            }
        }
        Class::Waiting => Disposition::Reschedule {
            delay: policy.wait(now - attempt.first_enqueued_at, rng),
            counts: false,
        },
        Class::Config => Disposition::Reschedule {
            delay: policy.config_delay(rng),
            counts: false,
        },
        Class::Transient if attempt.retry_count >= policy.max_retries() => {
            Disposition::DeadLetter {
                reason: RETRIES_EXHAUSTED,
                description: format!(
                    "Gave up after {} attempts. Last failure: {failure}. Once its cause is gone, resend the message.",
                    attempt.retry_count + 1
                ),
            }
        }
        // Not on a first failure: whatever waited for days without counting deserves a retry.
        Class::Transient
            if attempt.retry_count > 0 && now - attempt.first_enqueued_at > policy.max_age() =>
        {
            Disposition::DeadLetter {
                reason: TOO_OLD,
                description: format!(
                    "Retried for longer than retry.maxAgeHours. Last failure: {failure}. Once its cause is gone, resend the message."
                ),
            }
        }
        Class::Transient => Disposition::Reschedule {
            delay: policy
                .backoff(attempt.retry_count, rng)
                .max(failure.lingers.unwrap_or_default()),
            counts: true,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use time::macros::datetime;

    use super::*;
    use crate::failure::Stage;
    use crate::policy::RetrySettings;

    const T0: OffsetDateTime = datetime!(2026-03-02 09:15:30 UTC);

    fn run(retry_count: u32, age: Duration, class: Class) -> Disposition {
        let policy = RetryPolicy::try_from(&RetrySettings::default()).unwrap();
        let failure = Failure::new(class, Stage::Deliver, "Code", "What happened.");
        let attempt = Attempt {
            retry_count,
            first_enqueued_at: T0,
        };
        decide(
            &attempt,
            Err(&failure),
            &policy,
            T0 + age,
            &mut SmallRng::seed_from_u64(1),
        )
    }

    #[test]
    fn a_permanent_failure_costs_exactly_one_attempt() {
        let got = run(0, Duration::ZERO, Class::Permanent);
        assert_eq!(
            got,
            Disposition::DeadLetter {
                reason: "Code",
                description: "deliver: What happened. [Code]".into()
            }
        );
    }

    #[test]
    fn no_retry_comes_before_a_call_without_an_answer_has_taken_its_effect() {
        let policy = RetryPolicy::try_from(&RetrySettings::default()).unwrap();
        let wait = Duration::from_secs(45);
        let failure = Failure::transient(Stage::Deliver, "C", "m").lingering(wait);
        let first_enqueued_at = T0;
        for retry_count in [0, 11] {
            let attempt = Attempt {
                retry_count,
                first_enqueued_at,
            };
            let mut rng = SmallRng::seed_from_u64(1);
            let got = decide(&attempt, Err(&failure), &policy, T0, &mut rng);
            assert!(
                matches!(got, Disposition::Reschedule { delay, counts: true } if delay >= wait),
                "{got:?}"
            );
        }
    }

    #[test]
    fn the_last_counted_retry_is_followed_by_the_dead_letter_queue() {
        assert!(matches!(
            run(11, Duration::ZERO, Class::Transient),
            Disposition::Reschedule { counts: true, .. }
        ));
        assert!(matches!(
            run(12, Duration::ZERO, Class::Transient),
            Disposition::DeadLetter {
                reason: RETRIES_EXHAUSTED,
                ..
            }
        ));
    }

    #[test]
    fn a_recognised_outage_never_dead_letters_however_long_it_lasts() {
        let long = Duration::from_secs(3600 * 24 * 30);
        let wait = Duration::from_secs(9);
        for class in [
            Class::Throttled { retry_after: wait },
            Class::TargetDown { retry_after: wait },
            Class::Config,
        ] {
            assert!(
                matches!(run(1000, long, class), Disposition::Reschedule { counts: false, delay } if delay >= wait)
            );
        }
    }

    #[test]
    fn who_waits_for_another_row_waits_ever_longer_uncounted_and_not_for_ever() {
        let delay = |seconds| match run(0, Duration::from_secs(seconds), Class::Waiting) {
            Disposition::Reschedule {
                delay,
                counts: false,
            } => delay.as_secs(),
            other => panic!("{other:?}"),
        };
        assert!((5..=6).contains(&delay(0)));
        assert!((50..=60).contains(&delay(100)));
        assert!((600..=720).contains(&delay(3600 * 71)));
        assert!(matches!(
            run(0, Duration::from_secs(3600 * 73), Class::Waiting),
            Disposition::DeadLetter { reason: "Code", .. }
        ));
    }

    #[test]
    fn an_old_notification_that_keeps_failing_is_dead_lettered_by_age() {
        assert!(matches!(
            run(1, Duration::from_secs(3600 * 73), Class::Transient),
            Disposition::DeadLetter {
                reason: TOO_OLD,
                ..
            }
        ));
    }

    proptest! {
        #[test]
        fn no_wait_is_shorter_than_asked_for_and_none_is_unbounded(
            retry_count in 0u32..2000, wait in 0u64..100_000, seed: u64, throttled: bool,
        ) {
            let policy = RetryPolicy::try_from(&RetrySettings::default()).unwrap();
            let retry_after = Duration::from_secs(wait);
            let class = if throttled { Class::Throttled { retry_after } } else { Class::Transient };
            let failure = Failure::new(class, Stage::Fetch, "C", "m");
            let attempt = Attempt { retry_count, first_enqueued_at: T0 };
            let mut rng = SmallRng::seed_from_u64(seed);
            match decide(&attempt, Err(&failure), &policy, T0, &mut rng) {
                Disposition::Reschedule { delay, counts } => {
                    prop_assert_eq!(counts, !throttled);
                    prop_assert!(delay <= Duration::from_secs(4320));
                    if throttled && wait <= 3600 { prop_assert!(delay >= retry_after); }
                }
                Disposition::DeadLetter { .. } => prop_assert!(!throttled && retry_count >= 12),
                Disposition::Complete => prop_assert!(false, "a failure was completed"),
            }
        }
    }
}
