//! The three limits, and how a refusal by one of them is worded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits per user and web server ("Service protection API limits", Power Apps docs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests per window.
    pub requests: u64,
    /// Combined execution time per window.
    pub execution_time: Duration,
    /// Requests at the same time.
    pub concurrency: usize,
    /// Width of the sliding window.
    pub window: Duration,
}

impl Limits {
    /// As documented for every environment.
    pub const REAL: Self = Self {
        requests: 6000,
        execution_time: Duration::from_secs(1200),
        concurrency: 52,
        window: Duration::from_secs(300),
    };

    /// The same rates over a window that is `factor` times shorter. Concurrency is no rate and
    /// stays.
    #[must_use]
    pub fn scaled_down(self, factor: u32) -> Self {
        let factor = factor.max(1);
        Self {
            requests: (self.requests / u64::from(factor)).max(1),
            execution_time: self.execution_time / factor,
            window: self.window / factor,
            ..self
        }
    }
}

/// Which of the limits a request ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Requests per window.
    Requests,
    /// Combined execution time per window.
    ExecutionTime,
    /// Requests at the same time.
    Concurrency,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Requests, Self::ExecutionTime, Self::Concurrency];

    /// The error code of the 429.
    pub fn code(self) -> &'static str {
        match self {
            Self::Requests => "0x80072322",
            Self::ExecutionTime => "0x80072321",
            Self::Concurrency => "0x80072326",
        }
    }

    /// The error message of the 429.
    pub(in crate::dataverse) fn message(self, limits: &Limits) -> String {
        let seconds = limits.window.as_secs();
        match self {
            Self::Requests => format!(
                "Number of requests exceeded the limit of {} over time window of {seconds} seconds.",
                limits.requests
            ),
            Self::ExecutionTime => format!(
                "Combined execution time of incoming requests exceeded limit of {} milliseconds \
                 over time window of {seconds} seconds. Decrease number of concurrent requests or \
                 reduce the duration of requests and try again later.",
                grouped(limits.execution_time.as_millis())
            ),
            Self::Concurrency => format!(
                "Number of concurrent requests exceeded the limit of {}.",
                limits.concurrency
            ),
        }
    }
}

/// A number with its thousands set apart, as .NET writes it: `1,200,000`.
pub(in crate::dataverse) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_the_documented_ones() {
        let message = |limit: Limit| limit.message(&Limits::REAL);
        assert_eq!(
            message(Limit::Requests),
            "Number of requests exceeded the limit of 6000 over time window of 300 seconds."
        );
        assert_eq!(
            message(Limit::ExecutionTime),
            "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds \
             over time window of 300 seconds. Decrease number of concurrent requests or reduce the \
             duration of requests and try again later."
        );
        assert_eq!(
            message(Limit::Concurrency),
            "Number of concurrent requests exceeded the limit of 52."
        );
    }

    #[test]
    fn scaled_down_limits_keep_their_rates() {
        let scaled = Limits::REAL.scaled_down(100);
        assert_eq!((scaled.requests, scaled.window.as_secs()), (60, 3));
        assert_eq!(
            (scaled.execution_time.as_secs(), scaled.concurrency),
            (12, 52)
        );
    }
}
