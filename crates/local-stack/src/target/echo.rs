//! Answers of a careless system, which repeat what it was sent.

use std::fmt::Write;

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// A refusal with the row's name wherever a reader may look for a reason.
pub(super) fn refusal(body: &[u8]) -> Value {
    let row: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = row["name"].as_str().unwrap_or_default();
    json!({
        "code": name,
        "field": name,
        "message": format!("{name} is not acceptable: {row}"),
        "error": {"code": name, "message": name},
    })
}

/// A page about an error with all of the request in it, what proves who called included.
pub(super) fn page(headers: &HeaderMap, body: &[u8]) -> Response {
    let mut request = String::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Writing to a string does not fail.
        let _ = writeln!(request, "{name}: {value}");
    }
    let body = String::from_utf8_lossy(body);
    let page = format!(
        "<html><body><h1>Unhandled exception</h1><pre>{request}\n{body}</pre></body></html>"
    );
    (StatusCode::INTERNAL_SERVER_ERROR, Html(page)).into_response()
}
