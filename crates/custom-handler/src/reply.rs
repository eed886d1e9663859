//! What goes back to the host: an answer that it takes for success, or one that it takes for failure.

use std::fmt;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A successful invocation.
///
/// Always sent as a JSON object, at least `{}`: the host never completes an invocation that was
/// answered with an empty 2xx or with `null`, and kills the handler when its timeout is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reply {
    #[serde(rename = "Outputs", skip_serializing_if = "Map::is_empty")]
    outputs: Map<String, Value>,
    #[serde(rename = "Logs", skip_serializing_if = "Vec::is_empty")]
    logs: Vec<String>,
    #[serde(rename = "ReturnValue", skip_serializing_if = "Option::is_none")]
    return_value: Option<Vec<String>>,
}

impl Reply {
    /// Success, with nothing to add.
    pub fn ok() -> Self {
        Self::default()
    }

    /// A line for the host's log of this invocation, at level Information.
    #[must_use]
    pub fn log(mut self, line: impl Into<String>) -> Self {
        self.logs.push(line.into());
        self
    }

    /// Messages for an output binding, one per element, sent verbatim.
    ///
    /// An array of strings is the only form the host does not rewrite (a bare string that happens to be
    /// valid base64 is sent as the text `System.Byte[]`), hence the only one offered. One trap is left:
    /// an element that is in full an ISO date is reformatted.
    #[must_use]
    pub fn output(mut self, binding: impl Into<String>, messages: Vec<String>) -> Self {
        self.outputs.insert(binding.into(), Value::from(messages));
        self
    }

    /// Messages for the output binding named `$return`, under the same rules as [`Reply::output`].
    #[must_use]
    pub fn return_value(mut self, messages: Vec<String>) -> Self {
        self.return_value = Some(messages);
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// A failed invocation: answered with 500, for which the host abandons the message.
///
/// The host never reads the answer's body, so the failure is logged here, once. The detail must not
/// contain row values, tokens or secrets.
pub struct InvocationFailed {
    detail: String,
}

impl InvocationFailed {
    /// A failure described in words.
    pub fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
        }
    }
}

impl fmt::Display for InvocationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl fmt::Debug for InvocationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InvocationFailed")
            .field(&self.detail)
            .finish()
    }
}

/// Any error ends an invocation, with its whole chain of causes as the detail. This is why
/// `InvocationFailed` is not itself an `Error`.
impl<E: std::error::Error> From<E> for InvocationFailed {
    fn from(error: E) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors already repeat their cause in their own text.
            if !detail.contains(&text) {
                detail.push_str(": ");
                detail.push_str(&text);
            }
            source = cause.source();
        }
        Self { detail }
    }
}

/// An answer that the host takes for failure, as a problem document (RFC 9457) for people.
pub(crate) fn problem(
    status: StatusCode,
    function: &str,
    invocation_id: &str,
    detail: &str,
) -> Response {
    let body = json!({
        "title": status.canonical_reason().unwrap_or("Failure"),
        "status": status.as_u16(),
        "detail": detail,
        "function": function,
        "invocationId": invocation_id,
    });
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the target refused")]
    struct Refused(#[source] std::num::ParseIntError);

    #[test]
    fn a_failure_tells_the_whole_chain_of_causes() {
        let cause = "x".parse::<u8>().unwrap_err();
        let failed = InvocationFailed::from(Refused(cause));
        assert_eq!(
            failed.to_string(),
            "the target refused: invalid digit found in string"
        );
    }
}
