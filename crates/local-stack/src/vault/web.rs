//! The vault's routes and error shapes.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{SecretVersion, State, VaultRequest};
use crate::identity::TokenRejected;

const RESOURCE: &str = "https://vault.azure.net";

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    version: Option<String>,
}

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/secrets/{name}", get(secret))
        .route("/secrets/{name}/", get(secret))
        .route("/secrets/{name}/{version}", get(secret))
        .fallback(unknown)
        .with_state(state)
}

async fn secret(
    Shared(state): Shared<Arc<State>>,
    Path(asked): Path<Named>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let now = OffsetDateTime::now_utc();
    let response = answer(&state, &asked, &parameters, &headers, now);
    state.inner().requests.push(VaultRequest {
        at: now,
        secret: asked.name,
        status: response.status().as_u16(),
    });
    finish(response)
}

async fn unknown() -> Response {
    let response = refused(
        StatusCode::BAD_REQUEST,
        "BadParameter",
        "This stand-in answers GET /secrets/{name} and GET /secrets/{name}/{version} only.",
    );
    finish(response)
}

fn answer(
    state: &State,
    asked: &Named,
    parameters: &Parameters,
    headers: &HeaderMap,
    now: OffsetDateTime,
) -> Response {
    if let Err(reason) = state.key.verify_bearer(headers, RESOURCE, now) {
        return challenge(state, &reason);
    }
    if parameters.api_version.is_none() {
        return refused(
            StatusCode::BAD_REQUEST,
            "BadParameter",
            "api-version must be specified",
        );
    }
    let inner = state.inner();
    if let Some(status) = inner.fail_with {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return refused(status, "InternalError", "The vault was told to fail.");
    }
    match inner.secrets.get(&asked.name, asked.version.as_deref()) {
        None => refused(
            StatusCode::NOT_FOUND,
            "SecretNotFound",
            &format!(
                "A secret with (name/id) {} was not found in this key vault. If you recently \
                 deleted this secret you may be able to recover it using the correct recovery \
                 command. For help resolving this issue, please see \
                 https://go.microsoft.com/fwlink/?linkid=2125182",
                asked.name
            ),
        ),
        Some(held) if !held.enabled => {
            let message = "Operation get is not allowed on a disabled secret.";
            let mut body = error("Forbidden", message);
            body["error"]["innererror"] = json!({"code": "SecretDisabled"});
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
        Some(held) => Json(bundle(state, &asked.name, held)).into_response(),
    }
}

fn bundle(state: &State, name: &str, held: &SecretVersion) -> Value {
    let created = held.created.unix_timestamp();
    json!({
        "value": held.value,
        "id": format!("{}/secrets/{name}/{}", state.url, held.version),
        "attributes": {
            "enabled": held.enabled,
            "created": created,
            "updated": created,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        },
        "tags": {},
    })
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
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(error(code, message))).into_response()
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
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
