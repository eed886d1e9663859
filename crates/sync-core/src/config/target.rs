//! `target`: how the target system is called, whatever the table.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::finding::Findings;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
/// How the target system is called, whatever the table.
pub(super) struct TargetFile {
    /// Header that carries the API key.
    api_key_header: String,
    /// One call may take this long.
    timeout_seconds: f64,
}

impl Default for TargetFile {
    fn default() -> Self {
        Self {
            api_key_header: "x-api-key".into(),
            timeout_seconds: 20.0,
        }
    }
}

/// How the target is called.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Header that carries the API key.
    pub api_key_header: http::HeaderName,
    /// One call may take this long.
    pub timeout: Duration,
}

impl TargetConfig {
    /// No call takes effect later than this after it was sent: the target is taken to be done with a
    /// call within one more timeout after its caller gave up. Nothing can be known beyond that; what a
    /// slower target does is found by reconciliation, or refused by a target that compares versions.
    #[must_use]
    pub fn longest_call(&self) -> Duration {
        self.timeout * 2
    }
}

impl TargetFile {
    pub(super) fn check(&self, findings: &mut Findings<'_>) -> Option<TargetConfig> {
        let header = self.api_key_header.parse::<http::HeaderName>();
        if header.is_err() {
            let text = format!(
                "is {:?}, which is no header name, e.g. \"x-api-key\"",
                self.api_key_header
            );
            findings.add("apiKeyHeader", text);
        }
        let seconds = self.timeout_seconds;
        if !(0.1..=230.0).contains(&seconds) {
            let text = format!("is {seconds}, but must be between 0.1 and 230");
            findings.add("timeoutSeconds", text);
            return None;
        }
        Some(TargetConfig {
            api_key_header: header.ok()?,
            timeout: Duration::from_secs_f64(seconds),
        })
    }
}
