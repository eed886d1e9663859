//! `retry` in function.json: attempts within the host.

use std::time::Duration;

use serde_json::Value;

use super::json::{member, text};
use super::{parse_time_span, positive};

/// Attempts within the host, while the message stays locked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RetryPolicy {
    /// `None`: unlimited.
    pub(crate) max_retry_count: Option<u32>,
    /// The wait before the first retry.
    pub(crate) first_delay: Duration,
    /// The wait doubles up to this.
    pub(crate) longest_delay: Duration,
}

impl RetryPolicy {
    /// Reads `retry` of a function.json, if it has one. The error names the key.
    pub(super) fn parse(json: &Value) -> Result<Option<Self>, String> {
        let Some(policy) = member(json, "retry").filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let span = |key: &str| {
            let span = text(policy, key)?
                .and_then(|text| parse_time_span(&text))
                .and_then(positive);
            span.ok_or_else(|| format!("retry.{key}: must be a time span"))
        };
        let count = member(policy, "maxRetryCount").and_then(Value::as_i64);
        let count = count.ok_or("retry.maxRetryCount: must be a number")?;
        let (first_delay, longest_delay) = match text(policy, "strategy")?.as_deref() {
            Some("fixedDelay") => (span("delayInterval")?, span("delayInterval")?),
            Some("exponentialBackoff") => (span("minimumInterval")?, span("maximumInterval")?),
            _ => return Err("retry.strategy: must be fixedDelay or exponentialBackoff".to_owned()),
        };
        Ok(Some(Self {
            // -1 is "unlimited".
            max_retry_count: u32::try_from(count).ok(),
            first_delay,
            longest_delay,
        }))
    }
}
