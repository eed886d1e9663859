//! What every call passes: the token, the api-version, scripted failures, the record; and the headers of
//! every answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use time::OffsetDateTime;
use url::form_urlencoded;
use uuid::Uuid;

use super::bodies::error_because;
use super::web::refused;
use super::{State, VaultRequest};
use crate::identity::{Claims, TokenRejected};

const RESOURCE: &str = "https://vault.azure.net";

pub(super) async fn guard(
    Shared(state): Shared<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let at = OffsetDateTime::now_utc();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let caller = state.key.verify_bearer(request.headers(), RESOURCE, at);
    let response = match &caller {
        Err(reason) => challenge(&state, reason),
        Ok(_) => match failure(&state, &request) {
            Some(response) => response,
            None => next.run(request).await,
        },
    };
    let status = response.status().as_u16();
    state
        .inner()
        .requests
        .push(record(at, &method, &path, caller.ok(), status));
    finish(response)
}

fn record(
    at: OffsetDateTime,
    method: &Method,
    path: &str,
    caller: Option<Claims>,
    status: u16,
) -> VaultRequest {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let names_version = !matches!(parts.get(2), Some(&"versions"));
    let one = parts.len() > 1 && parts[0] == "secrets" && names_version;
    let (caller, token) = caller.map(|claims| (claims.appid, claims.uti)).unzip();
    VaultRequest {
        at,
        secret: parts.get(1).copied().unwrap_or_default().to_owned(),
        status,
        read: *method == Method::GET && one && status == 200,
        method: method.to_string(),
        caller,
        token,
    }
}

/// What keeps a call that may come in from being answered.
fn failure(state: &State, request: &Request) -> Option<Response> {
    let query = request.uri().query().unwrap_or_default();
    // The JavaScript client writes `api%2Dversion`.
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    if !names.any(|name| name == "api-version") {
        let text = "api-version must be specified";
        return Some(refused(StatusCode::BAD_REQUEST, "BadParameter", text));
    }
    let (status, retry_after) = state.inner().faults.draw()?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = if status == StatusCode::TOO_MANY_REQUESTS {
        let text = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";
        refused(status, "Throttled", text)
    } else if status == StatusCode::FORBIDDEN {
        let text = "Caller is not authorized to perform action on resource. If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.";
        let body = error_because("Forbidden", text, "ForbiddenByRbac");
        (status, Json(body)).into_response()
    } else {
        refused(status, "InternalError", "The vault was told to fail.")
    };
    if let Some(seconds) = retry_after {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Some(response)
}

/// Clients send their first call without a token on purpose, and read from this answer which
/// tenant and which resource to ask a token for.
fn challenge(state: &State, reason: &TokenRejected) -> Response {
    let message = match reason {
        TokenRejected::Missing => "AKV10000: Request is missing a Bearer or PoP token.".to_owned(),
        TokenRejected::Audience { .. } => format!("AKV10022: Invalid audience: {reason}."),
        other => format!("AKV10032: Invalid token: {other}."),
    };
    let mut response = refused(StatusCode::UNAUTHORIZED, "Unauthorized", &message);
    let challenge = format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{}\", resource=\"{RESOURCE}\"",
        state.tenant
    );
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let request_id = Uuid::new_v4().to_string();
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert("x-ms-request-id", request_id);
    }
    for (name, value) in [
        ("x-ms-keyvault-service-version", "1.9.0.0"),
        ("x-ms-keyvault-region", "local"),
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
