//! What a fault looks like to the caller.

use http::{StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use super::message::ApiResponse;
use crate::dataverse::faults::{Fault, Throttle};
use crate::dataverse::script::{BodyShape, Script, ScriptedAnswer, ScriptedFault};

/// The answer given instead of the real one; `None` resets the connection.
pub(super) type Mishap = Option<ApiResponse>;

/// What a scripted fault does to the answer; `None` leaves it alone.
pub(super) fn of(script: &Script, tenant: Uuid) -> Option<Mishap> {
    match &script.fault {
        ScriptedFault::Reset => Some(None),
        ScriptedFault::SlowMs(_) => None,
        ScriptedFault::Known(_) | ScriptedFault::Answer(_) => {
            let answer = script.answer()?;
            Some(Some(scripted(&answer, tenant)))
        }
    }
}

/// How much longer a scripted fault makes it, milliseconds.
pub(super) fn latency(script: &Script) -> u64 {
    match script.fault {
        ScriptedFault::SlowMs(latency) => latency,
        _ => 0,
    }
}

/// What a fault does before the work.
pub(super) fn before(fault: Fault, retry_after: u64, tenant: Uuid) -> Option<Mishap> {
    match fault {
        Fault::ResetBefore => Some(None),
        Fault::Unavailable => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Some(Some(page(status, "Service Unavailable")))
        }
        Fault::Throttled(throttle) => Some(Some(throttled(throttle, retry_after))),
        Fault::Known(known) => Some(Some(scripted(&known.answer(), tenant))),
        Fault::None | Fault::ResetAfter => None,
    }
}

/// What a fault does after the work.
pub(super) fn after(fault: Fault) -> Option<Mishap> {
    (fault == Fault::ResetAfter).then_some(None)
}

pub(super) fn throttled(throttle: Throttle, retry_after: u64) -> ApiResponse {
    let body = json!({"error": {"code": throttle.code, "message": throttle.message}});
    ApiResponse::json(StatusCode::TOO_MANY_REQUESTS, &body)
        .with(header::RETRY_AFTER, &retry_after.to_string())
}

/// The challenge of a 401, with the tenant to get a token from.
pub(super) fn challenge(tenant: Uuid, resource: &str) -> ApiResponse {
    let challenge = format!(
        "Bearer authorization_uri=https://login.microsoftonline.com/{tenant}/oauth2/authorize, \
         resource_id={resource}/"
    );
    ApiResponse::empty(StatusCode::UNAUTHORIZED).with(header::WWW_AUTHENTICATE, &challenge)
}

/// An answer as a script words it.
pub(super) fn scripted(answer: &ScriptedAnswer, tenant: Uuid) -> ApiResponse {
    let status = StatusCode::from_u16(answer.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (code, message) = (&answer.code, &answer.message);
    let told = match answer.body {
        _ if status == StatusCode::UNAUTHORIZED => challenge(tenant, ""),
        BodyShape::Html => page(status, message),
        BodyShape::Message => ApiResponse::json(status, &json!({"Message": message})),
        BodyShape::Json if code.is_empty() && message.is_empty() => ApiResponse::empty(status),
        BodyShape::Json => ApiResponse::json(
            status,
            &json!({"error": {"code": code, "message": message}}),
        ),
    };
    match &answer.retry_after {
        Some(wait) => told.with(header::RETRY_AFTER, wait),
        None => told,
    }
}

/// What the gateway in front of Dataverse answers, which is not JSON.
fn page(status: StatusCode, title: &str) -> ApiResponse {
    let number = status.as_u16();
    let html = format!(
        "<!DOCTYPE html><html><head><title>{title}</title></head><body><h2>{title}</h2><hr>\
         <p>HTTP Error {number}. {title}.</p></body></html>"
    );
    ApiResponse::empty(status).with_body("text/html; charset=us-ascii", html)
}
