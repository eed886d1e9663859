//! The endpoint's one route.

use std::sync::Arc;

use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Claims, Grant, State, TokenRequest, entra};

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
    resource: Option<String>,
    client_id: Option<String>,
    object_id: Option<String>,
    principal_id: Option<String>,
    mi_res_id: Option<String>,
}

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/msi/token", get(token))
        .route("/{tenant}/oauth2/v2.0/token", post(entra::token))
        .with_state(state)
}

async fn token(
    Shared(state): Shared<Arc<State>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let now = OffsetDateTime::now_utc();
    let (resource, client_id) = (parameters.resource.clone(), parameters.client_id.clone());
    let instance = instance(&state, &headers);
    let token_id = Uuid::new_v4().simple().to_string();
    let answer = answer(&state, parameters, instance.is_some(), &token_id, now);
    let token = answer.is_ok().then_some(token_id);
    let status = match &answer {
        Ok(_) => StatusCode::OK,
        Err((status, _)) => *status,
    };
    state.inner().requests.push(TokenRequest {
        at: now,
        grant: Grant::ManagedIdentity,
        resource,
        client_id,
        instance: instance.flatten(),
        token,
        status: status.as_u16(),
    });
    let body = match answer {
        Ok(body) => body,
        // The shape App Service uses; its correlation id is for its own support.
        Err((status, message)) => json!({
            "statusCode": status.as_u16(),
            "message": message,
            "correlationId": Uuid::new_v4(),
        }),
    };
    (status, Json(body)).into_response()
}

type Refused = (StatusCode, &'static str);

/// Whose secret header the call carries: `None` when it is nobody's, `Some(None)` when it is the one of an
/// endpoint whose callers are not told apart.
fn instance(state: &State, headers: &HeaderMap) -> Option<Option<String>> {
    let header = headers.get("x-identity-header")?.to_str().ok()?;
    if header == state.config.header {
        return Some(None);
    }
    state.inner().instances.get(header).cloned().map(Some)
}

fn answer(
    state: &State,
    parameters: Parameters,
    is_trusted: bool,
    token_id: &str,
    now: OffsetDateTime,
) -> Result<serde_json::Value, Refused> {
    let bad = |message| Err((StatusCode::BAD_REQUEST, message));
    let (lifetime, fail_with) = {
        let inner = state.inner();
        (inner.lifetime, inner.fail_with)
    };
    if let Some(status) = fail_with {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return Err((status, "the endpoint was told to fail"));
    }
    if !is_trusted {
        return Err((StatusCode::UNAUTHORIZED, "Invalid secret token header"));
    }
    if parameters.api_version.as_deref() != Some("2019-08-01") {
        return bad("The api-version is not supported.");
    }
    let Some(resource) = parameters.resource.filter(|resource| !resource.is_empty()) else {
        return bad("The parameter 'resource' is required.");
    };
    let by_other_id = [
        parameters.object_id,
        parameters.principal_id,
        parameters.mi_res_id,
    ];
    if by_other_id.iter().any(Option::is_some) {
        return bad("This stand-in knows identities by client_id only.");
    }
    let client_id = match parameters.client_id {
        None => state.config.client_id,
        Some(id) => match Uuid::parse_str(&id) {
            Ok(id) if known(state, id) => id,
            _ => {
                return bad(
                    "No Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
                );
            }
        },
    };
    let expires = now + lifetime;
    let token = state.config.key.issue(&Claims {
        aud: resource.clone(),
        appid: client_id.to_string(),
        // One principal per client id, the same on every call.
        oid: Uuid::new_v5(&Uuid::NAMESPACE_OID, client_id.as_bytes()).to_string(),
        uti: token_id.to_owned(),
        iat: now.unix_timestamp(),
        exp: expires.unix_timestamp(),
    });
    Ok(json!({
        "access_token": token,
        "expires_on": expires.unix_timestamp().to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": client_id,
    }))
}

fn known(state: &State, client_id: Uuid) -> bool {
    let listed = &state.config.user_assigned;
    listed.is_empty() || listed.contains(&client_id) || client_id == state.config.client_id
}
