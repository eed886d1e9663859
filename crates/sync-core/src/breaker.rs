//! The circuit breaker of one system: when it is down, messages wait without being tried or counted,
//! and when it is back, they return at a pace it can bear. Pure: time is an argument.
//!
//! Closed → (enough failures in a row) → open → (its time is over) → one probe at a time → (it works)
//! → ramp, at a bounded rate → closed. Whoever is refused is told when to come back, each at a time of
//! its own, so that the backlog does not return all at once.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use crate::policy::InvalidPolicy;

/// When a system counts as down, and how its backlog returns. One breaker for the target and one for Dataverse,
/// in each instance.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    #[schemars(range(min = 1, max = 1000))]
    pub failures: u32,
    /// How long it stays open at first, in seconds; doubled after each probe that fails.
    #[schemars(range(min = 0.1, max = 3600.0))]
    pub open_seconds: f64,
    /// The longest it stays open without a probe, in seconds. Not less than `openSeconds`.
    #[schemars(range(min = 0.1, max = 3600.0))]
    pub max_open_seconds: f64,
    /// Calls per second that may return while the system recovers.
    #[schemars(range(min = 0.1, max = 10_000.0))]
    pub ramp_per_second: f64,
    /// How long the rate is bounded after the system is back, in seconds.
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub ramp_seconds: f64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 10,
            open_seconds: 15.0,
            max_open_seconds: 120.0,
            ramp_per_second: 20.0,
            ramp_seconds: 30.0,
        }
    }
}

impl BreakerSettings {
    /// Checks each value.
    ///
    /// # Errors
    /// The first key that makes no sense.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let bounds = [
            ("breaker.failures", f64::from(self.failures), 1.0, 1000.0),
            ("breaker.openSeconds", self.open_seconds, 0.1, 3600.0),
            (
                "breaker.maxOpenSeconds",
                self.max_open_seconds,
                self.open_seconds,
                3600.0,
            ),
            ("breaker.rampPerSecond", self.ramp_per_second, 0.1, 10_000.0),
            ("breaker.rampSeconds", self.ramp_seconds, 0.0, 3600.0),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let problem = format!("is {value}, but must be between {least} and {most}");
                return Err(InvalidPolicy { key, problem });
            }
        }
        Ok(())
    }
}

/// How a call that was let through ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The system answered, be it with a refusal of this one row.
    Alive,
    /// It did not answer, or said that it cannot work.
    Down,
    /// Says nothing about the system.
    Unknown,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead, and report.
    Pass(Permit),
    /// Come back after this.
    Refuse(Duration),
}

/// A call that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    probe: bool,
    at: Instant,
}

/// What a report changed, for one line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It opened, or a probe failed; the next probe is due after this.
    Opened(Duration),
    /// A probe worked.
    Recovering,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    Probing,
    Ramping {
        since: Instant,
        tokens: f64,
        counted: Instant,
    },
}

/// The breaker of one system in one instance.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    /// Failures in a row: each of a call that was let through after the one before had failed. A page
    /// of rows that is lost as a whole, or a stall that hits all calls under way, counts once.
    failures: u32,
    last_failure: Option<Instant>,
    /// Spells of being open in a row, without having recovered.
    spells: u32,
    /// The last time somebody was told to come back at.
    last_slot: Option<Instant>,
}

/// Nobody is sent away for longer than this; slots beyond it start over.
const LONGEST_SLOT: Duration = Duration::from_secs(1800);

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed,
            failures: 0,
            last_failure: None,
            spells: 0,
            last_slot: None,
        }
    }

    /// For telemetry: 0 closed, 1 finding out or ramping up, 2 open.
    #[must_use]
    pub fn state(&self, now: Instant) -> u64 {
        match self.state {
            State::Closed => 0,
            // Only the next call would end it, and there may be none for long.
            State::Ramping { since, .. } if self.is_ramped(since, now) => 0,
            State::Probing | State::Ramping { .. } => 1,
            State::Open { .. } => 2,
        }
    }

    fn is_ramped(&self, since: Instant, now: Instant) -> bool {
        now - since >= Duration::from_secs_f64(self.settings.ramp_seconds)
    }

    /// When somebody who has nothing to try may come back, if nothing is tried now.
    pub fn shut(&mut self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(self.slot(now, until)),
            State::Probing => {
                let soon = now + Duration::from_secs_f64(self.settings.open_seconds);
                Some(self.slot(now, soon))
            }
            State::Closed | State::Open { .. } | State::Ramping { .. } => None,
        }
    }

    /// Whether a call may be made now.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed => Admission::Pass(Permit {
                probe: false,
                at: now,
            }),
            State::Open { until } if now < until => Admission::Refuse(self.slot(now, until)),
            State::Open { .. } => {
                self.state = State::Probing;
                Admission::Pass(Permit {
                    probe: true,
                    at: now,
                })
            }
            State::Probing => {
                let soon = now + Duration::from_secs_f64(self.settings.open_seconds);
                Admission::Refuse(self.slot(now, soon))
            }
            State::Ramping {
                since,
                tokens,
                counted,
            } => {
                if self.is_ramped(since, now) {
                    self.state = State::Closed;
                    self.spells = 0;
                    return Admission::Pass(Permit {
                        probe: false,
                        at: now,
                    });
                }
                let rate = self.settings.ramp_per_second;
                // Whoever returns does not do so evenly, so a fifth of a second's worth may gather while
                // nobody calls; refilled by four fifths, any second stays within the rate.
                let gathered = (now - counted).as_secs_f64() * rate * 0.8;
                let tokens = (tokens + gathered).min((rate * 0.2).max(1.0));
                let pass = tokens >= 1.0;
                let tokens = if pass { tokens - 1.0 } else { tokens };
                self.state = State::Ramping {
                    since,
                    tokens,
                    counted: now,
                };
                if pass {
                    Admission::Pass(Permit {
                        probe: false,
                        at: now,
                    })
                } else {
                    Admission::Refuse(self.slot(now, now))
                }
            }
        }
    }

    /// How a call ended.
    pub fn report(&mut self, now: Instant, permit: Permit, health: Health) -> Option<Change> {
        if permit.probe {
            return match health {
                Health::Alive => {
                    self.failures = 0;
                    self.state = State::Ramping {
                        since: now,
                        tokens: 1.0,
                        counted: now,
                    };
                    Some(Change::Recovering)
                }
                Health::Down => Some(self.open(now)),
                // A probe that proved nothing (its invocation was dropped): the next call probes.
                Health::Unknown => {
                    self.state = State::Open { until: now };
                    None
                }
            };
        }
        match (health, self.state) {
            // Calls that were under way when it opened have nothing to add.
            (_, State::Open { .. } | State::Probing) | (Health::Unknown, _) => None,
            (Health::Alive, _) => {
                self.failures = 0;
                None
            }
            (Health::Down, _) => {
                if self.last_failure.is_some_and(|last| permit.at < last) {
                    return None;
                }
                self.last_failure = Some(now);
                self.failures += 1;
                (self.failures >= self.settings.failures).then(|| self.open(now))
            }
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        let factor = f64::from(1u32 << self.spells.min(16));
        let seconds = (self.settings.open_seconds * factor).min(self.settings.max_open_seconds);
        let length = Duration::from_secs_f64(seconds);
        self.spells += 1;
        self.failures = 0;
        self.state = State::Open {
            until: now + length,
        };
        Change::Opened(length)
    }

    /// A time to come back that nobody else was given, `1 / rampPerSecond` apart.
    fn slot(&mut self, now: Instant, earliest: Instant) -> Duration {
        let step = Duration::from_secs_f64(1.0 / self.settings.ramp_per_second);
        let next = match self.last_slot {
            Some(last) if last + step - now <= LONGEST_SLOT => (last + step).max(earliest),
            _ => earliest,
        };
        self.last_slot = Some(next);
        (next - now).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BreakerSettings {
        BreakerSettings {
            failures: 3,
            ramp_per_second: 10.0,
            ..BreakerSettings::default()
        }
    }

    fn pass(breaker: &mut Breaker, now: Instant) -> Permit {
        match breaker.admit(now) {
            Admission::Pass(permit) => permit,
            Admission::Refuse(wait) => panic!("refused for {wait:?}"),
        }
    }

    fn refused(breaker: &mut Breaker, now: Instant) -> Duration {
        match breaker.admit(now) {
            Admission::Refuse(wait) => wait,
            Admission::Pass(_) => panic!("let through"),
        }
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(settings());
        for _ in 0..3 {
            let permit = pass(&mut breaker, now);
            breaker.report(now, permit, Health::Down);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (now, mut breaker) = (Instant::now(), Breaker::new(settings()));
        for health in [
            Health::Down,
            Health::Down,
            Health::Alive,
            Health::Down,
            Health::Down,
        ] {
            let permit = pass(&mut breaker, now);
            assert_eq!(breaker.report(now, permit, health), None);
        }
        let permit = pass(&mut breaker, now);
        let open = Some(Change::Opened(Duration::from_secs(15)));
        assert_eq!(breaker.report(now, permit, Health::Down), open);
        refused(&mut breaker, now);
    }

    #[test]
    fn calls_that_fail_together_count_once() {
        let (start, mut breaker) = (Instant::now(), Breaker::new(settings()));
        let permits: Vec<_> = (0..32).map(|_| pass(&mut breaker, start)).collect();
        for (ms, permit) in (1..).zip(permits) {
            let now = start + Duration::from_millis(ms);
            assert_eq!(breaker.report(now, permit, Health::Down), None);
        }
        pass(&mut breaker, start + Duration::from_secs(1));
    }

    #[test]
    fn everybody_refused_gets_a_time_of_their_own_at_the_ramps_pace() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let waits: Vec<_> = (0..50).map(|_| refused(&mut breaker, now)).collect();
        assert!(waits[0] >= Duration::from_secs(15), "not before it is over");
        for pair in waits.windows(2) {
            assert_eq!((pair[1] - pair[0]).as_millis(), 100);
        }
    }

    #[test]
    fn one_probe_at_a_time_and_each_failed_one_doubles_the_wait_up_to_the_cap() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [30, 60, 120, 120] {
            now += Duration::from_secs(121);
            let probe = pass(&mut breaker, now);
            refused(&mut breaker, now);
            let open = Some(Change::Opened(Duration::from_secs(seconds)));
            assert_eq!(breaker.report(now, probe, Health::Down), open);
        }
    }

    #[test]
    fn after_a_probe_that_worked_no_more_than_the_ramp_comes_through_until_it_is_over() {
        let mut now = Instant::now() + Duration::from_secs(100);
        let mut breaker = opened(now - Duration::from_secs(50));
        let probe = pass(&mut breaker, now);
        assert_eq!(
            breaker.report(now, probe, Health::Alive),
            Some(Change::Recovering)
        );
        for second in 0..29 {
            let mut passed = 0;
            for _ in 0..100 {
                passed += u32::from(matches!(breaker.admit(now), Admission::Pass(_)));
                now += Duration::from_millis(10);
            }
            assert!((8..=10).contains(&passed), "second {second}: {passed}");
        }
        now += Duration::from_secs(2);
        assert!((0..100).all(|_| matches!(breaker.admit(now), Admission::Pass(_))));
    }

    #[test]
    fn telemetry_sees_it_closed_when_the_ramp_is_over_though_nobody_calls() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.state(now), 2);
        now += Duration::from_secs(16);
        let probe = pass(&mut breaker, now);
        assert_eq!(breaker.state(now), 1);
        breaker.report(now, probe, Health::Alive);
        assert_eq!(breaker.state(now + Duration::from_secs(29)), 1);
        assert_eq!(breaker.state(now + Duration::from_secs(30)), 0);
    }

    #[test]
    fn a_probe_that_was_dropped_lets_the_next_call_probe() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + Duration::from_secs(16);
        let probe = pass(&mut breaker, later);
        assert_eq!(breaker.report(later, probe, Health::Unknown), None);
        assert!(pass(&mut breaker, later).probe);
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        let wrong = BreakerSettings {
            max_open_seconds: 1.0,
            ..settings()
        };
        let text = wrong.check().unwrap_err().to_string();
        assert_eq!(
            text,
            "breaker.maxOpenSeconds is 1, but must be between 15 and 3600"
        );
    }
}
