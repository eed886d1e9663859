//! How patient we are: the retry policy of a table.

use std::time::Duration;

use rand::{Rng, RngCore};
use schemars::JsonSchema;
use serde::Deserialize;

/// How patient the sync is with a message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Delay before the first retry, in seconds.
    #[schemars(range(min = 0.01, max = MOST_SECONDS))]
    pub base_seconds: f64,
    /// What each further delay is multiplied by.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub factor: f64,
    /// No backoff delay is longer, in seconds. Not less than `baseSeconds`.
    #[schemars(range(min = 0.01, max = MOST_SECONDS))]
    pub cap_seconds: f64,
    /// Each delay is lengthened by a random share of itself up to this (0.2 = up to 20 % longer).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
    /// Counted retries before the message is dead-lettered.
    #[schemars(range(min = 0, max = MOST_RETRIES))]
    pub max_retries: u32,
    /// Counted retries stop at this age of the notification, in hours.
    #[schemars(range(min = 0.001, max = MOST_HOURS))]
    pub max_age_hours: f64,
    /// Wait between attempts while the app itself is misconfigured, in seconds.
    #[schemars(range(min = 0.01, max = MOST_SECONDS))]
    pub config_delay_seconds: f64,
    /// Tries after the first within one invocation, to absorb a blip before anything is rescheduled.
    #[schemars(range(min = 0, max = MOST_IN_PROCESS))]
    pub in_process_retries: u32,
}

const MOST_HOURS: f64 = 30.0 * 24.0;
const MOST_SECONDS: f64 = MOST_HOURS * 3600.0;
const MOST_RETRIES: u32 = 1000;
const MOST_IN_PROCESS: u32 = 5;

impl Default for RetrySettings {
    /// 5 s, 10 s, 20 s, ... up to 10 minutes, 12 retries: roughly an hour and a half of patience.
    fn default() -> Self {
        Self {
            base_seconds: 5.0,
            factor: 2.0,
            cap_seconds: 600.0,
            jitter: 0.2,
            max_retries: 12,
            max_age_hours: 72.0,
            config_delay_seconds: 300.0,
            in_process_retries: 2,
        }
    }
}

/// Why a retry policy makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct InvalidPolicy {
    /// The key in `sync.json`.
    pub key: &'static str,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

/// A checked retry policy.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    base: Duration,
    factor: f64,
    cap: Duration,
    jitter: f64,
    max_retries: u32,
    max_age: Duration,
    config_delay: Duration,
    in_process_retries: u32,
}

/// A server that asks for more than this gets this: a Retry-After once read as hours must not park a
/// message for days.
const LONGEST_OBEYED: Duration = Duration::from_secs(3600);

impl TryFrom<&RetrySettings> for RetryPolicy {
    type Error = InvalidPolicy;

    fn try_from(s: &RetrySettings) -> Result<Self, InvalidPolicy> {
        let seconds = |key, value: f64, least: f64| {
            if value.is_finite() && value >= least && value <= MOST_SECONDS {
                Ok(Duration::from_secs_f64(value))
            } else {
                let problem = format!("is {value}, but must be between {least} and {MOST_SECONDS}");
                Err(InvalidPolicy { key, problem })
            }
        };
        let between = |key, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                let problem = format!("is {value}, but must be between {low} and {high}");
                Err(InvalidPolicy { key, problem })
            }
        };
        let policy = Self {
            base: seconds("retry.baseSeconds", s.base_seconds, 0.01)?,
            factor: between("retry.factor", s.factor, 1.0, 10.0)?,
            cap: seconds("retry.capSeconds", s.cap_seconds, 0.01)?,
            jitter: between("retry.jitter", s.jitter, 0.0, 1.0)?,
            max_retries: s.max_retries,
            max_age: Duration::from_secs_f64(
                between("retry.maxAgeHours", s.max_age_hours, 0.001, MOST_HOURS)? * 3600.0,
            ),
            config_delay: seconds("retry.configDelaySeconds", s.config_delay_seconds, 0.01)?,
            in_process_retries: s.in_process_retries,
        };
        if policy.cap < policy.base {
            return Err(InvalidPolicy {
                key: "retry.capSeconds",
                problem: format!(
                    "is {}, but must not be less than retry.baseSeconds ({})",
                    s.cap_seconds, s.base_seconds
                ),
            });
        }
        if s.max_retries > MOST_RETRIES {
            let problem = format!("is {}, but must be at most {MOST_RETRIES}", s.max_retries);
            return Err(InvalidPolicy {
                key: "retry.maxRetries",
                problem,
            });
        }
        if s.in_process_retries > MOST_IN_PROCESS {
            let problem = format!(
                "is {}, but must be at most {MOST_IN_PROCESS}",
                s.in_process_retries
            );
            return Err(InvalidPolicy {
                key: "retry.inProcessRetries",
                problem,
            });
        }
        Ok(policy)
    }
}

impl RetryPolicy {
    /// Counted retries before the message is dead-lettered.
    #[must_use]
    pub fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// Counted retries stop at this age.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Tries after the first within one invocation.
    #[must_use]
    pub fn in_process_retries(&self) -> u32 {
        self.in_process_retries
    }

    /// The shortest delay [`Self::backoff`] can give after `retry_count` counted retries.
    #[must_use]
    pub fn shortest_backoff(&self, retry_count: u32) -> Duration {
        let exponent = i32::try_from(retry_count).unwrap_or(i32::MAX);
        let grown = self.base.as_secs_f64() * self.factor.powi(exponent);
        // `min` also turns an overflow to infinity into the cap.
        Duration::from_secs_f64(grown.min(self.cap.as_secs_f64()))
    }

    /// The longest delay [`Self::backoff`] can give after `retry_count` counted retries.
    #[must_use]
    pub fn longest_backoff(&self, retry_count: u32) -> Duration {
        self.shortest_backoff(retry_count)
            .mul_f64(1.0 + self.jitter)
    }

    /// Delay before the attempt that follows `retry_count` counted retries.
    pub fn backoff(&self, retry_count: u32, rng: &mut dyn RngCore) -> Duration {
        self.lengthen(self.shortest_backoff(retry_count), rng)
    }

    /// Delay after the other side asked for `retry_after`: never shorter than that, nor than the base.
    pub fn obey(&self, retry_after: Duration, rng: &mut dyn RngCore) -> Duration {
        self.lengthen(retry_after.min(LONGEST_OBEYED).max(self.base), rng)
    }

    /// Delay of a message of this age that waits for another row: half its age, so that it comes back soon
    /// after a row that comes soon, and seldom for one that does not.
    pub fn wait(&self, age: time::Duration, rng: &mut dyn RngCore) -> Duration {
        let half = Duration::try_from(age).unwrap_or_default() / 2;
        self.lengthen(half.clamp(self.base, self.cap), rng)
    }

    /// Delay while the app itself is misconfigured.
    pub fn config_delay(&self, rng: &mut dyn RngCore) -> Duration {
        self.lengthen(self.config_delay, rng)
    }

    /// Jitter only ever lengthens: a shortened delay could fall below a server's Retry-After.
    fn lengthen(&self, delay: Duration, rng: &mut dyn RngCore) -> Duration {
        delay.mul_f64(1.0 + self.jitter * rng.random_range(0.0..1.0))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy::try_from(&RetrySettings::default()).unwrap()
    }

    #[test]
    fn each_delay_is_at_least_its_bound_and_at_most_the_jitter_longer() {
        let (p, mut rng) = (policy(), SmallRng::seed_from_u64(7));
        for count in 0..40 {
            let (least, got) = (p.shortest_backoff(count), p.backoff(count, &mut rng));
            assert!(
                got >= least && got <= least.mul_f64(1.2),
                "{count}: {got:?}"
            );
        }
        assert_eq!(p.shortest_backoff(0), Duration::from_secs(5));
        assert_eq!(p.shortest_backoff(3), Duration::from_secs(40));
        assert_eq!(p.shortest_backoff(4_000_000_000), Duration::from_secs(600));
    }

    #[test]
    fn a_retry_after_is_never_undercut_and_an_absurd_one_is_clamped() {
        let (p, mut rng) = (policy(), SmallRng::seed_from_u64(7));
        for _ in 0..200 {
            assert!(p.obey(Duration::from_secs(37), &mut rng) >= Duration::from_secs(37));
        }
        assert!(p.obey(Duration::from_secs(86_400 * 9), &mut rng) <= Duration::from_secs(4320));
    }

    #[test]
    fn a_cap_below_the_base_is_refused_by_name() {
        let s = RetrySettings {
            cap_seconds: 1.0,
            ..RetrySettings::default()
        };
        let error = RetryPolicy::try_from(&s).unwrap_err();
        assert_eq!(
            error.to_string(),
            "retry.capSeconds is 1, but must not be less than retry.baseSeconds (5)"
        );
    }
}
