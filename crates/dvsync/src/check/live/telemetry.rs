//! Telemetry: one trace item of level "verbose", which says what it is, is taken in.

use serde_json::{Value, json};
use sync_core::credentials::TokenSource;
use sync_core::settings::environment;
use telemetry::{SendAs, TelemetrySettings};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::line::{Line, System};
use super::parts::Parts;
use super::reach::Peer;

const TELEMETRY: System = System("telemetry");
/// What a connection string without an endpoint means.
const GLOBAL: &str = "https://dc.services.visualstudio.com";
const SETTING: &str = "APPLICATIONINSIGHTS_CONNECTION_STRING";
const PEER: Peer = Peer {
    system: TELEMETRY,
    setting: SETTING,
    unreachable: "IngestionUnreachable",
    untrusted: "IngestionUntrusted",
    trust: "let nothing open the TLS of the ingestion endpoint; for a stand-in, set SSL_CERT_FILE to its authority",
};

/// Who telemetry is sent as, if with a token.
pub(super) fn identity() -> Option<SendAs> {
    let settings = TelemetrySettings::read(&environment, "dvsync-check").ok()?;
    settings.connection_string.and(settings.identity)
}

pub(super) async fn check(parts: &Parts) -> Vec<Line> {
    let settings = match TelemetrySettings::read(&environment, "dvsync-check") {
        Ok(settings) => settings,
        Err(error) => {
            let code = match error.name() {
                SETTING => "ConnectionStringUnusable",
                _ => "TelemetrySetting",
            };
            let fix = "copy it from the resource's overview page, or from the output of infra/";
            return vec![TELEMETRY.wrong("settings", code, error.to_string(), fix)];
        }
    };
    let mut lines = Vec::new();
    match &settings.connection_string {
        Some(text) => lines.push(item(parts, text, settings.identity.is_some()).await),
        None => lines.push(TELEMETRY.not_checked("item", format!("{SETTING} is not set"))),
    }
    if settings.otlp {
        let why = "OpenTelemetry collectors differ in what they take; look at yours";
        lines.push(TELEMETRY.not_checked("OTLP endpoint", why));
    }
    lines
}

async fn item(parts: &Parts, connection_string: &str, by_identity: bool) -> Line {
    const CHECK: &str = "item";
    let part = |name: &str| {
        let parts = connection_string.split(';');
        let mut parts = parts.filter_map(|part| part.split_once('='));
        let found = parts.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let endpoint = part("IngestionEndpoint").unwrap_or_else(|| GLOBAL.to_owned());
    let key = part("InstrumentationKey").unwrap_or_default();
    let url = format!("{}/v2.1/track", endpoint.trim_end_matches('/'));
    let mut request = parts.http.post(url).json(&json!([envelope(&key)]));
    if by_identity {
        match parts.telemetry.token(::telemetry::SCOPE).await {
            Ok(token) => request = request.bearer_auth(token.secret()),
            Err(_) => return TELEMETRY.not_checked(CHECK, "there is no token for it"),
        }
    }
    match request.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let body = answer.json().await.unwrap_or_default();
            judge(CHECK, status, &body, by_identity)
        }
        Err(error) if error.is_builder() => TELEMETRY.wrong(
            CHECK,
            "ConnectionStringUnusable",
            "its IngestionEndpoint is no address",
            "copy it anew from the resource's overview page",
        ),
        Err(error) => PEER.lost(CHECK, &error),
    }
}

fn envelope(key: &str) -> Value {
    let now = OffsetDateTime::now_utc();
    json!({
        "name": "Microsoft.ApplicationInsights.Message",
        "time": now.format(&Rfc3339).unwrap_or_default(),
        "iKey": key,
        "tags": {"ai.cloud.role": "dvsync-check"},
        "data": {"baseType": "MessageData", "baseData": {
            "ver": 2,
            "message": "dvsync check --live: is telemetry taken in?",
            "severityLevel": 0,
        }},
    })
}

fn judge(check: &str, status: u16, body: &Value, by_identity: bool) -> Line {
    let (code, problem, fix) = match status {
        200 if body["itemsAccepted"] == 1 => return TELEMETRY.ok(check, "taken in"),
        401 if by_identity => (
            "IngestionRefusesToken",
            "the token is refused (401)",
            "give the identity the role Monitoring Metrics Publisher on the Application Insights resource, and check that the connection string is of the same tenant's resource",
        ),
        401 => (
            "IngestionWantsIdentity",
            "the resource takes telemetry from identities only (401)",
            "set APPLICATIONINSIGHTS_AUTHENTICATION_STRING=Authorization=AAD (with ;ClientId=... for a user-assigned identity)",
        ),
        403 => (
            "NoIngestionRight",
            "the identity may not send telemetry (403)",
            "give it the role Monitoring Metrics Publisher on the Application Insights resource; a new assignment takes some minutes",
        ),
        200 | 206 | 400 => (
            "IngestionRefusesItem",
            "the item is not taken in",
            "check the InstrumentationKey of the connection string: copy it anew from the resource's overview page",
        ),
        402 | 439 => (
            "IngestionQuota",
            "the resource's daily quota is used up",
            "raise the daily cap, or lower TELEMETRY_SAMPLING_PERCENT",
        ),
        429 | 500.. => (
            "IngestionFailing",
            "the service is busy or in trouble",
            "try again in a minute",
        ),
        _ => (
            "IngestionUnexpected",
            "the answer is not one of the ingestion service",
            "check the IngestionEndpoint of the connection string",
        ),
    };
    TELEMETRY.wrong(check, code, format!("{problem}{}", seen(status)), fix)
}

/// The status, where the problem does not say it.
fn seen(status: u16) -> String {
    match status {
        401 | 403 => String::new(),
        status => format!(" ({status})"),
    }
}
