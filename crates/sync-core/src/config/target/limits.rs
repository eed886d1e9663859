//! `target.maxConcurrent`, `requestsPerSecond`, `burst`, `maxWaitSeconds`: how much one instance asks of
//! the target.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::finding::Findings;

pub(super) struct LimitsFile {
    pub(super) max_concurrent: u32,
    pub(super) requests_per_second: Option<f64>,
    pub(super) burst: Option<u32>,
    pub(super) max_wait_seconds: f64,
}

/// How much one instance asks of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLimits {
    /// Rows under way at once.
    pub max_concurrent: usize,
    /// Calls by time.
    pub rate: Option<Rate>,
    /// A row waits this long for its turn.
    pub max_wait: Duration,
}

/// Calls by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// From one call to the next, when they come without a pause.
    pub interval: Duration,
    /// Calls that may be made at once after a pause.
    pub burst: NonZeroU32,
}

pub(super) const MOST_CONCURRENT: u32 = 10_000;
pub(super) const LEAST_PER_SECOND: f64 = 0.001;
pub(super) const MOST_PER_SECOND: f64 = 100_000.0;
pub(super) const LONGEST_WAIT_SECONDS: f64 = 60.0;

impl LimitsFile {
    pub(super) fn check(&self, findings: &mut Findings<'_>) -> Option<TargetLimits> {
        let concurrent = self.max_concurrent;
        if !(1..=MOST_CONCURRENT).contains(&concurrent) {
            let text = format!("is {concurrent}, but must be between 1 and {MOST_CONCURRENT}");
            findings.add("maxConcurrent", text);
        }
        let rate = match (self.requests_per_second, self.burst) {
            (None, None) => None,
            (None, Some(_)) => {
                findings.add(
                    "burst",
                    "is only for a rate: set requestsPerSecond, e.g. 50, or leave it out",
                );
                None
            }
            (Some(per_second), burst) => rate(per_second, burst, findings),
        };
        let wait = super::seconds(
            self.max_wait_seconds,
            LONGEST_WAIT_SECONDS,
            "maxWaitSeconds",
            findings,
        );
        Some(TargetLimits {
            max_concurrent: concurrent as usize,
            rate,
            max_wait: wait?,
        })
    }
}

fn rate(per_second: f64, burst: Option<u32>, findings: &mut Findings<'_>) -> Option<Rate> {
    if !(LEAST_PER_SECOND..=MOST_PER_SECOND).contains(&per_second) {
        let text = format!(
            "is {per_second}, but must be between {LEAST_PER_SECOND} and {MOST_PER_SECOND}"
        );
        findings.add("requestsPerSecond", text);
        return None;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 1 and 10 000
    let tenth = (per_second / 10.0).ceil().max(1.0) as u32;
    let burst = NonZeroU32::new(burst.unwrap_or(tenth));
    if burst.is_none() {
        findings.add("burst", "is 0, but must be 1 at least");
    }
    Some(Rate {
        interval: Duration::from_secs_f64(1.0 / per_second),
        burst: burst?,
    })
}
