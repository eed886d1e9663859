//! The headers every answer of Dataverse carries, quirks included.

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::served::Served;
use crate::dataverse::protection::{affinity_of, grouped};

/// Adds them. Two are odd on purpose: `x-ms-service-request-id` comes twice with different values,
/// the second equal to `REQ_ID`, and one rate limit is a decimal with grouped thousands.
pub(super) fn add(served: &Served, headers: &mut HeaderMap) {
    let request_id = Uuid::new_v4();
    let (requests, time, dop_hint) = {
        let mut protection = served.state.protection();
        let identity = served.identity.as_deref().unwrap_or_default();
        let (requests, time) = protection.remaining(identity, served.server, Instant::now());
        (requests, time, protection.servers.dop_hint)
    };
    let time = format!(
        "{}.{:02}",
        grouped(u128::from(time.as_secs())),
        time.subsec_millis() / 10
    );
    // A client that keeps this cookie sticks to one web server.
    let affinity = affinity_of(served.server);
    let affinity = format!("ARRAffinity={affinity}; path=/; secure; HttpOnly");
    let varying = [
        ("x-ms-service-request-id", Uuid::new_v4().to_string()),
        ("x-ms-service-request-id", request_id.to_string()),
        ("req_id", request_id.to_string()),
        ("authactivityid", Uuid::new_v4().to_string()),
        (
            "x-ms-ratelimit-burst-remaining-xrm-requests",
            requests.to_string(),
        ),
        ("x-ms-ratelimit-time-remaining-xrm-requests", time),
        ("x-ms-dop-hint", dop_hint.to_string()),
        ("set-cookie", affinity),
    ];
    for (name, value) in varying {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("allow", "OPTIONS,GET,HEAD,POST"),
        ("expires", "-1"),
        ("vary", "Accept-Encoding,Prefer"),
        (
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        ),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
}
