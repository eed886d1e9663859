//! Entra ID's token endpoint, `/{tenant}/oauth2/v2.0/token`, for applications that prove who they are by
//! a client secret or by an assertion that their certificate signed.
//!
//! Contract: Microsoft identity platform docs, "OAuth 2.0 client credentials flow", "Application
//! authentication certificate credentials", "Entra authentication and authorization error codes".

use std::sync::Arc;

use axum::Json;
use axum::extract::{Form, Path, State as Shared};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::assertion::{self, Rejected};
use super::{Claims, Grant, State, TokenRequest};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Deserialize)]
pub(super) struct Parameters {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    client_assertion_type: Option<String>,
    client_assertion: Option<String>,
    scope: Option<String>,
}

/// An error of the endpoint: status, OAuth error, AADSTS number, text.
struct Refused(StatusCode, &'static str, u32, String);

fn bad(error: &'static str, number: u32, text: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, error, number, text.into())
}

fn invalid_client(number: u32, text: impl Into<String>) -> Refused {
    Refused(
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        number,
        text.into(),
    )
}

pub(super) async fn token(
    Shared(state): Shared<Arc<State>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    Form(mut parameters): Form<Parameters>,
) -> Response {
    if let (None, Some((id, secret))) = (&parameters.client_secret, basic(&headers)) {
        parameters.client_id = Some(id);
        parameters.client_secret = Some(secret);
    }
    let now = OffsetDateTime::now_utc();
    let grant = match parameters.client_assertion {
        Some(_) => Grant::Assertion,
        None => Grant::ClientSecret,
    };
    let scope = parameters.scope.clone().unwrap_or_default();
    let resource = scope.strip_suffix("/.default").map(str::to_owned);
    let client_id = parameters.client_id.clone();
    let token_id = Uuid::new_v4().simple().to_string();
    let answer = answer(
        &state,
        &tenant,
        &parameters,
        resource.as_deref(),
        &token_id,
        now,
    );
    let token = answer.is_ok().then_some(token_id);
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(Refused(status, error, number, text)) => {
            let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
            let at = now.replace_nanosecond(0).unwrap_or(now);
            let description = format!(
                "AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
            );
            let body = json!({
                "error": error, "error_description": description, "error_codes": [number],
                "timestamp": at.to_string(), "trace_id": trace, "correlation_id": correlation,
                "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
            });
            (status, body)
        }
    };
    state.inner().requests.push(TokenRequest {
        at: now,
        grant,
        resource,
        client_id,
        instance: None,
        token,
        status: status.as_u16(),
    });
    (status, Json(body)).into_response()
}

/// A client that authenticates by header (RFC 6749, 2.3.1), both parts form-encoded.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let pair = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decoded = |text: &str| {
        let mut pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.next().map(|(name, _)| name.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?))
}

fn answer(
    state: &State,
    tenant: &str,
    parameters: &Parameters,
    resource: Option<&str>,
    token_id: &str,
    now: OffsetDateTime,
) -> Result<serde_json::Value, Refused> {
    let (lifetime, fail_with) = {
        let inner = state.inner();
        (inner.lifetime, inner.fail_with)
    };
    if let Some(status) = fail_with {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = "the endpoint was told to fail".to_owned();
        return Err(Refused(status, "temporarily_unavailable", 90033, text));
    }
    if tenant != state.config.tenant.to_string() {
        return Err(bad(
            "invalid_request",
            90002,
            format!("Tenant '{tenant}' not found."),
        ));
    }
    if parameters.grant_type.as_deref() != Some("client_credentials") {
        let text = "The app returned an unsupported grant type.";
        return Err(bad("unsupported_grant_type", 70003, text));
    }
    let Some(resource) = resource else {
        let text = "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.";
        return Err(bad("invalid_scope", 1_002_012, text));
    };
    let id = parameters.client_id.as_deref().unwrap_or_default();
    let application = Uuid::parse_str(id)
        .ok()
        .and_then(|id| Some((id, state.inner().applications.get(&id)?.clone())));
    let Some((client_id, application)) = application else {
        let text = format!("Application with identifier '{id}' was not found in the directory.");
        return Err(bad("unauthorized_client", 700_016, text));
    };
    match (&parameters.client_assertion, &parameters.client_secret) {
        (Some(assertion), None) => {
            if parameters.client_assertion_type.as_deref() != Some(ASSERTION_TYPE) {
                let text = "The client assertion type is not supported.";
                return Err(invalid_client(700_020, text));
            }
            let audiences = state.audiences();
            assertion::check(
                assertion,
                &application.certificates,
                &audiences,
                client_id,
                now,
            )
            .map_err(|e| invalid_client(number(e), e.to_string()))?;
        }
        (None, Some(secret)) => {
            if application.secret.as_ref() != Some(secret) {
                let text = format!("Invalid client secret provided for app '{client_id}'.");
                return Err(invalid_client(7_000_215, text));
            }
        }
        _ => {
            let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            return Err(invalid_client(7_000_218, text));
        }
    }
    let expires = now + lifetime;
    let token = state.config.key.issue(&Claims {
        aud: resource.to_owned(),
        appid: client_id.to_string(),
        oid: Uuid::new_v5(&Uuid::NAMESPACE_OID, client_id.as_bytes()).to_string(),
        uti: token_id.to_owned(),
        iat: now.unix_timestamp(),
        exp: expires.unix_timestamp(),
    });
    let seconds = lifetime.as_secs();
    Ok(json!({
        "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
    }))
}

/// Entra's number of a refusal.
fn number(rejected: Rejected) -> u32 {
    match rejected {
        Rejected::Malformed => 50_027,
        Rejected::UnknownCertificate | Rejected::Signature => 700_027,
        Rejected::Audience => 700_023,
        Rejected::Application => 700_021,
        Rejected::Time => 700_024,
    }
}
