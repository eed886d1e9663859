//! What the value of an `http` output becomes (azure-functions-host `HttpBinding`).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

/// The answer to the caller. Without a value it is 204 (Azure doc "Azure Functions HTTP trigger":
/// from version 2 on).
///
/// # Errors
/// When status or headers are none, which fails the invocation.
pub(super) fn response(value: Option<&Value>) -> Result<Response<Bytes>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(answer(
            StatusCode::NO_CONTENT,
            HeaderMap::new(),
            Bytes::new(),
        ));
    };
    let parsed;
    // Text that is a JSON object counts as one.
    let value = match value {
        Value::String(text) if text.trim_start().starts_with('{') => {
            parsed = serde_json::from_str(text).unwrap_or_else(|_| value.clone());
            &parsed
        }
        other => other,
    };
    let member = |names: &[&str]| {
        let members = value.as_object()?;
        let named =
            |(name, _): &(&String, &Value)| names.iter().any(|it| name.eq_ignore_ascii_case(it));
        members.iter().find(named).map(|(_, value)| value)
    };
    let status = member(&["statusCode", "status"]);
    let body = member(&["body"]);
    let named_headers = member(&["headers"]);
    if status.is_none() && body.is_none() && named_headers.is_none() {
        return Ok(with_body(StatusCode::OK, HeaderMap::new(), value));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in named_headers
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let wrong = || format!("the http output has a header {name:?} that is none");
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = HeaderValue::try_from(text(value)).map_err(|_| wrong())?;
        headers.insert(name, value);
    }
    let status = match status {
        None => StatusCode::OK,
        Some(status) => text(status)
            .parse::<u16>()
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .ok_or_else(|| format!("the http output has a status that is none: {status}"))?,
    };
    Ok(match body.filter(|body| !body.is_null()) {
        Some(body) => with_body(status, headers, body),
        None => answer(status, headers, Bytes::new()),
    })
}

fn with_body(status: StatusCode, mut headers: HeaderMap, body: &Value) -> Response<Bytes> {
    let kind = match body {
        Value::Array(_) | Value::Object(_) => "application/json; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static(kind));
    answer(status, headers, text(body).into())
}

fn answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(value: Value) -> (u16, String, String) {
        let response = response(Some(&value)).unwrap();
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), kind.unwrap_or_default(), body)
    }

    #[test]
    fn the_golden_output_is_answered() {
        let golden = include_str!("../../../../custom-handler/tests/golden/r4-http-output.json");
        let golden: Value = serde_json::from_str(golden).unwrap();
        let answer = answered(golden["Outputs"]["res"].clone());
        assert_eq!(
            answer,
            (202, "application/json".into(), "{\"ok\":true}".into())
        );
    }

    #[test]
    fn members_are_found_in_any_case_and_other_values_are_the_body() {
        let text = "text/plain; charset=utf-8".to_owned();
        let json = "application/json; charset=utf-8".to_owned();
        assert_eq!(
            answered(json!({"Status": 404})),
            (404, String::new(), String::new())
        );
        assert_eq!(
            answered(json!({"body": "hi"})),
            (200, text.clone(), "hi".into())
        );
        assert_eq!(answered(json!("{\"statusCode\": 201}")).0, 201);
        assert_eq!(answered(json!("hi")), (200, text, "hi".into()));
        assert_eq!(answered(json!({"a": 1})), (200, json, "{\"a\":1}".into()));
        assert_eq!(response(None).unwrap().status(), 204);
    }

    #[test]
    fn a_status_or_a_header_that_is_none_fails_the_invocation() {
        assert!(
            response(Some(&json!({"statusCode": "soon"})))
                .unwrap_err()
                .contains("soon")
        );
        let header = json!({"headers": {"not a name": "x"}});
        assert!(response(Some(&header)).unwrap_err().contains("not a name"));
    }
}
