//! The headers every answer of Dataverse carries, quirks included.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::dataverse::State;

/// Adds them. Two are odd on purpose: `x-ms-service-request-id` comes twice with different values,
/// the second equal to `REQ_ID`, and one rate limit is a decimal with grouped thousands.
pub(super) fn add(state: &State, headers: &mut HeaderMap) {
    let request_id = Uuid::new_v4();
    let remaining = state.inner().burst_remaining();
    let varying = [
        ("x-ms-service-request-id", Uuid::new_v4().to_string()),
        ("x-ms-service-request-id", request_id.to_string()),
        ("req_id", request_id.to_string()),
        ("authactivityid", Uuid::new_v4().to_string()),
        (
            "x-ms-ratelimit-burst-remaining-xrm-requests",
            remaining.to_string(),
        ),
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
        ("x-ms-dop-hint", "4"),
        ("x-ms-ratelimit-time-remaining-xrm-requests", "1,200.00"),
        // A client that keeps this cookie sticks to one web server.
        (
            "set-cookie",
            "ARRAffinity=6c6f63616c; path=/; secure; HttpOnly",
        ),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
}
