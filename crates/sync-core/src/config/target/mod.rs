//! `target`: how the target system is called, whatever the table.

mod auth;
mod headers;
mod limits;

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub use auth::{OAuth2, TargetAuth};
pub use headers::TargetHeaders;
pub use limits::{Rate, TargetLimits};

use super::answers::{AnswerClass, Answers};
use super::finding::Findings;
use auth::AuthFile;
use headers::HeadersFile;
use limits::LimitsFile;

/// The longest that one call may take.
const MOST_SECONDS: f64 = 230.0;
const LEAST_RESPONSE_BYTES: u32 = 1024;

/// How the target system is called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TargetFile {
    /// How the app proves who it is. The secret is always in Key Vault, under the name in
    /// TARGET_SECRET_NAME.
    auth: AuthFile,
    /// One call may take this long, in seconds.
    #[schemars(range(min = 0.1, max = MOST_SECONDS))]
    timeout_seconds: f64,
    /// Rows that one instance has under way at the target at once.
    #[schemars(range(min = 1, max = limits::MOST_CONCURRENT))]
    max_concurrent: u32,
    /// Calls a second of one instance; null: no limit.
    #[schemars(range(min = limits::LEAST_PER_SECOND, max = limits::MOST_PER_SECOND), example = 50)]
    requests_per_second: Option<f64>,
    /// Calls that may be made at once after a pause; null: what goes into a tenth of a second.
    #[schemars(range(min = 1), example = 10)]
    burst: Option<u32>,
    /// A row waits this long for the limits above before its message is rescheduled, in seconds.
    #[schemars(range(min = 0.1, max = limits::LONGEST_WAIT_SECONDS))]
    max_wait_seconds: f64,
    /// Longer answers are not read, in bytes.
    #[schemars(range(min = LEAST_RESPONSE_BYTES))]
    max_response_bytes: u32,
    /// Names of the headers that go with each call; null: not sent.
    headers: HeadersFile,
    /// Headers that go with each call as they are.
    #[schemars(example = json!({"x-tenant": "contoso"}))]
    constant_headers: BTreeMap<String, String>,
    /// Answers that mean something else than usual, by status or status and code.
    #[schemars(example = json!({"423": "transient", "422:duplicate-key": "accepted"}))]
    answers: BTreeMap<String, AnswerClass>,
}

impl Default for TargetFile {
    fn default() -> Self {
        Self {
            auth: AuthFile::default(),
            timeout_seconds: 20.0,
            max_concurrent: 64,
            requests_per_second: None,
            burst: None,
            max_wait_seconds: 10.0,
            max_response_bytes: 1 << 20,
            headers: HeadersFile::default(),
            constant_headers: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }
}

/// How the target is called.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// How the app proves who it is.
    pub auth: TargetAuth,
    /// One call may take this long.
    pub timeout: Duration,
    /// How much one instance asks of the target.
    pub limits: TargetLimits,
    /// Longer answers are not read.
    pub max_response_bytes: usize,
    /// What goes with each call.
    pub headers: TargetHeaders,
    /// What goes with each call as it is.
    pub constant_headers: HeaderMap,
    /// Answers that mean something else than usual.
    pub answers: Answers,
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
        let auth = self.auth.check(&mut findings.below("auth"));
        let timeout = seconds(
            self.timeout_seconds,
            MOST_SECONDS,
            "timeoutSeconds",
            findings,
        );
        let limits = LimitsFile {
            max_concurrent: self.max_concurrent,
            requests_per_second: self.requests_per_second,
            burst: self.burst,
            max_wait_seconds: self.max_wait_seconds,
        };
        let limits = limits.check(findings);
        if self.max_response_bytes < LEAST_RESPONSE_BYTES {
            let text = format!(
                "is {}, but must be {LEAST_RESPONSE_BYTES} at least",
                self.max_response_bytes
            );
            findings.add("maxResponseBytes", text);
        }
        let headers = self.headers.check(&mut findings.below("headers"));
        let constant_headers = headers::constants(
            &self.constant_headers,
            &mut findings.below("constantHeaders"),
        );
        let answers = Answers::from(self.answers.clone());
        answers.check(&mut findings.below("answers"));
        let config = TargetConfig {
            auth: auth?,
            timeout: timeout?,
            limits: limits?,
            max_response_bytes: self.max_response_bytes as usize,
            headers: headers?,
            constant_headers: constant_headers?,
            answers,
        };
        headers::check_unique(&config, findings);
        Some(config)
    }
}

fn seconds(value: f64, most: f64, key: &str, findings: &mut Findings<'_>) -> Option<Duration> {
    if (0.1..=most).contains(&value) {
        return Some(Duration::from_secs_f64(value));
    }
    let text = format!("is {value}, but must be between 0.1 and {most}");
    findings.add(key, text);
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(target: Value) -> Result<TargetConfig, String> {
        let mut all = Vec::new();
        let mut findings = Findings::new(&mut all);
        let mut findings = findings.below("target");
        let file: Option<TargetFile> = crate::config::read::value(target, &mut findings);
        let config = file.and_then(|file| file.check(&mut findings));
        let findings: Vec<String> = all.iter().map(ToString::to_string).collect();
        match config {
            Some(config) if findings.is_empty() => Ok(config),
            _ => Err(findings.join("\n")),
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = check(json!({})).unwrap();
        assert!(matches!(&config.auth, TargetAuth::ApiKey { header } if header == "x-api-key"));
        assert_eq!(config.limits.max_concurrent, 64);
        assert_eq!(config.limits.rate, None);
        assert_eq!(config.max_response_bytes, 1_048_576);
        let header = config.headers.idempotency_key.unwrap();
        assert_eq!(header, "idempotency-key");
    }

    #[test]
    fn every_kind_of_auth_is_read_and_a_header_can_be_left_out() {
        for kind in [
            json!({"kind": "apiKey", "header": "Ocp-Apim-Subscription-Key"}),
            json!({"kind": "bearer"}),
            json!({"kind": "basic", "user": "svc"}),
            json!({"kind": "oauth2", "tokenUrl": "https://login.contoso.com/token", "clientId": "sync"}),
            json!({"kind": "oauth2", "tokenUrl": "http://localhost:1/t", "clientId": "sync", "scope": "s",
                "audience": "a", "clientAuthentication": "header"}),
            json!({"kind": "clientCertificate"}),
        ] {
            check(json!({"auth": kind})).unwrap();
        }
        let config = check(json!({"headers": {"version": null}})).unwrap();
        assert_eq!(config.headers.version, None);
        assert!(config.headers.correlation_id.is_some());
    }

    #[test]
    fn a_rate_may_be_a_fraction_and_has_a_burst_of_a_tenth_of_a_second() {
        let rate = |target| check(target).unwrap().limits.rate.unwrap();
        let slow = rate(json!({"requestsPerSecond": 0.5}));
        assert_eq!(
            (slow.interval, slow.burst.get()),
            (Duration::from_secs(2), 1)
        );
        let fast = rate(json!({"requestsPerSecond": 200}));
        assert_eq!(
            (fast.interval, fast.burst.get()),
            (Duration::from_millis(5), 20)
        );
        let told = rate(json!({"requestsPerSecond": 200, "burst": 3}));
        assert_eq!(told.burst.get(), 3);
    }

    #[test]
    fn each_wrong_key_is_named_with_its_fix() {
        for (target, expected) in [
            (
                json!({"auth": {"kind": "apiKey", "header": "x api"}}),
                "target.auth.header is \"x api\"",
            ),
            (
                json!({"auth": {"kind": "basic", "user": "a:b"}}),
                "target.auth.user is \"a:b\"",
            ),
            (
                json!({"auth": {"kind": "oauth2", "tokenUrl": "http://login.contoso.com/t", "clientId": "c"}}),
                "target.auth.tokenUrl must be https",
            ),
            (
                json!({"auth": {"kind": "oauth2", "tokenUrl": "https://l/t", "clientId": ""}}),
                "target.auth.clientId is empty",
            ),
            (
                json!({"auth": {"kind": "bearer", "secret": "x"}}),
                "target.auth",
            ),
            (json!({"maxConcurrent": 0}), "target.maxConcurrent is 0"),
            (
                json!({"requestsPerSecond": 0}),
                "target.requestsPerSecond is 0",
            ),
            (json!({"burst": 5}), "target.burst is only for"),
            (json!({"maxWaitSeconds": 0}), "target.maxWaitSeconds is 0"),
            (
                json!({"timeoutSeconds": 500}),
                "target.timeoutSeconds is 500",
            ),
            (
                json!({"maxResponseBytes": 10}),
                "target.maxResponseBytes is 10",
            ),
            (
                json!({"headers": {"version": "a b"}}),
                "target.headers.version is \"a b\"",
            ),
            (
                json!({"constantHeaders": {"x-tenant": "a\nb"}}),
                "target.constantHeaders.x-tenant",
            ),
            (
                json!({"constantHeaders": {"content-type": "x"}}),
                "target.constantHeaders.content-type",
            ),
            (
                json!({"constantHeaders": {"X-Api-Key": "x"}}),
                "target sends the header x-api-key twice",
            ),
            (
                json!({"answers": {"9": "transient"}}),
                "target.answers.9 is no answer",
            ),
        ] {
            let text = check(target).unwrap_err();
            assert!(text.contains(expected), "{expected} not in {text}");
        }
    }
}
