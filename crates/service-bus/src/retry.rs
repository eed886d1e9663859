//! Whether and when a failed try is followed by another. Pure: clock and randomness are arguments.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::Rng;

use crate::error::{ErrorClass, ErrorKind};
use crate::options::ClientOptions;

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Retries {
    retries: u32,
    base: Duration,
    cap: Duration,
    busy_wait: Duration,
    failures: u32,
    reauthorized: bool,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Give up with this failure.
    GiveUp,
    /// Try again after this wait.
    After(Duration),
    /// Get a new token first, then try again at once.
    Reauthorize,
}

impl Retries {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        Self {
            retries: options.retries,
            base: options.retry_base,
            cap: options.retry_cap,
            busy_wait: options.busy_wait,
            failures: 0,
            reauthorized: false,
        }
    }

    /// What follows a failure, with `left` of the call's time.
    ///
    /// A link or connection that was idle for some minutes is always lost when it is used again, so
    /// the first retry comes at once. Later waits double, and are shortened by up to half at random,
    /// so that callers who lost the same connection do not come back as one.
    pub(crate) fn after(
        &mut self,
        failure: &ErrorKind,
        left: Duration,
        rng: &mut impl Rng,
    ) -> Next {
        self.failures += 1;
        if self.failures > self.retries {
            return Next::GiveUp;
        }
        let wait = match failure.class() {
            // A token may have expired early; one new token tells whether it was that.
            ErrorClass::Unauthorized if !self.reauthorized => {
                self.reauthorized = true;
                return Next::Reauthorize;
            }
            ErrorClass::Throttled => self.busy_wait,
            ErrorClass::Transient if self.failures == 1 && is_loss(failure) => Duration::ZERO,
            ErrorClass::Transient => self.backoff(rng),
            _ => return Next::GiveUp,
        };
        if wait < left {
            Next::After(wait)
        } else {
            Next::GiveUp
        }
    }

    fn backoff(&self, rng: &mut impl Rng) -> Duration {
        backoff(self.base, self.cap, self.failures, rng)
    }
}

/// The wait after so many failures in a row: doubled for each, bounded, shortened at random.
fn backoff(base: Duration, cap: Duration, failures: u32, rng: &mut impl Rng) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let full = base.saturating_mul(1 << doublings).min(cap);
    full.mul_f64(rng.random_range(0.5..=1.0))
}

/// How attempts to connect went. Shared by all calls: each has retries of its own, and without this
/// a thousand of them would knock a thousand times as often at a broker that is away.
#[derive(Debug, Default)]
pub(crate) struct Reconnects {
    failures: AtomicU32,
}

impl Reconnects {
    /// How long to wait before the next attempt.
    pub(crate) fn pause(&self, options: &ClientOptions, rng: &mut impl Rng) -> Duration {
        match self.failures.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            failures => backoff(options.retry_base, options.retry_cap, failures, rng),
        }
    }

    pub(crate) fn record(&self, connected: bool) {
        if connected {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            // One attempt at a time: nobody else counts meanwhile.
            let failures = self.failures.load(Ordering::Relaxed);
            self.failures
                .store(failures.saturating_add(1), Ordering::Relaxed);
        }
    }
}

/// Whether what failed was the connection or link, rather than the operation.
fn is_loss(failure: &ErrorKind) -> bool {
    match failure {
        ErrorKind::Connection(_) => true,
        ErrorKind::Refused { condition, .. } => matches!(
            condition.as_str(),
            "amqp:link:detach-forced" | "amqp:connection:forced"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const LONG: Duration = Duration::from_secs(3600);

    fn refused(condition: &str) -> ErrorKind {
        ErrorKind::Refused {
            condition: condition.into(),
            description: String::new(),
        }
    }

    fn lost() -> ErrorKind {
        ErrorKind::Connection("reset".into())
    }

    fn retries(retries: u32) -> (Retries, StdRng) {
        let options = ClientOptions {
            retries,
            ..ClientOptions::default()
        };
        (Retries::new(&options), StdRng::seed_from_u64(1))
    }

    #[test]
    fn a_lost_link_is_tried_again_at_once_and_then_with_doubling_waits() {
        let (mut retries, mut rng) = retries(9);
        assert_eq!(
            retries.after(&refused("amqp:link:detach-forced"), LONG, &mut rng),
            Next::After(Duration::ZERO)
        );
        for full in [400, 800, 1600, 3200, 5000, 5000].map(Duration::from_millis) {
            let Next::After(wait) = retries.after(&lost(), LONG, &mut rng) else {
                panic!("gave up");
            };
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
    }

    #[test]
    fn tries_are_bounded_by_number_and_by_time() {
        let (mut few, mut rng) = retries(1);
        assert!(matches!(few.after(&lost(), LONG, &mut rng), Next::After(_)));
        assert_eq!(few.after(&lost(), LONG, &mut rng), Next::GiveUp);
        let (mut short, mut rng) = retries(9);
        let busy = refused("com.microsoft:server-busy");
        assert_eq!(
            short.after(&busy, Duration::from_secs(11), &mut rng),
            Next::After(Duration::from_secs(10))
        );
        assert_eq!(
            short.after(&busy, Duration::from_secs(9), &mut rng),
            Next::GiveUp
        );
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        for condition in [
            "com.microsoft:message-lock-lost",
            "amqp:not-found",
            "com.microsoft:argument-error",
            "amqp:link:message-size-exceeded",
        ] {
            let (mut retries, mut rng) = retries(9);
            let next = retries.after(&refused(condition), LONG, &mut rng);
            assert_eq!(next, Next::GiveUp, "{condition}");
        }
    }

    #[test]
    fn attempts_to_connect_are_spaced_out_until_one_succeeds() {
        let (options, reconnects) = (ClientOptions::default(), Reconnects::default());
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(reconnects.pause(&options, &mut rng), Duration::ZERO);
        for full in [200, 400, 800, 1600, 3200, 5000, 5000].map(Duration::from_millis) {
            reconnects.record(false);
            let wait = reconnects.pause(&options, &mut rng);
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
        reconnects.record(true);
        assert_eq!(reconnects.pause(&options, &mut rng), Duration::ZERO);
    }

    #[test]
    fn a_refused_credential_is_renewed_once() {
        let (mut retries, mut rng) = retries(9);
        let unauthorized = refused("amqp:unauthorized-access");
        assert_eq!(
            retries.after(&unauthorized, LONG, &mut rng),
            Next::Reauthorize
        );
        assert_eq!(retries.after(&unauthorized, LONG, &mut rng), Next::GiveUp);
    }
}
