//! The API over HTTP: authentication, faults, then the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{ConnectInfo, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::faults::{Fault, When};
use super::store::{self, Answer, refusal};
use super::{Call, Faults, Inner, State};
use crate::admin;
use crate::serve::Connection;

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/_admin/faults", get(faults).post(change_faults))
        .fallback(call)
        .with_state(state)
}

async fn faults(Shared(state): Shared<Arc<State>>) -> Json<Faults> {
    Json(state.inner().faults.clone())
}

async fn change_faults(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    let mut inner = state.inner();
    match admin::merge(&inner.faults, &body) {
        Ok(faults) => {
            inner.set_faults(faults);
            Json(inner.faults.clone()).into_response()
        }
        Err(message) => respond(refusal(400, "bad-faults", &message)),
    }
}

async fn call(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arrival = state.arrivals.fetch_add(1, Ordering::SeqCst);
    let request = Request::new(arrival, &method, &uri, &headers, body);
    let key = headers.get("x-api-key");
    let trusted = key.is_some_and(|key| key.as_bytes() == state.api_key.as_bytes());
    // In a task of its own: a caller that gives up does not stop the work, which may well be
    // applied after the caller has gone away.
    let work = tokio::spawn(async move { process(state, request, trusted).await });
    let done = work.await.unwrap_or(Done::Cut);
    match done {
        Done::Answered(response) => response,
        Done::Cut => {
            connection.cut();
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

enum Done {
    Answered(Response),
    Cut,
}

async fn process(state: Arc<State>, request: Request, trusted: bool) -> Done {
    if !trusted {
        let answer = refusal(401, "unauthorized", "The API key is missing or wrong.");
        let call = request.call(Some(401), false);
        state.inner().record(call, false);
        return Done::Answered(respond(answer));
    }
    let (fault, latency, hold, late, retry_after) = {
        let mut inner = state.inner();
        let fault = inner.draw();
        let faults = &inner.faults;
        (
            fault,
            Duration::from_millis(faults.latency_ms),
            Duration::from_millis(faults.hold_ms),
            Duration::from_millis(faults.late_ms),
            faults.retry_after_s,
        )
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let refuse = |status: Option<u16>| state.inner().record(request.call(status, false), true);
    match fault {
        Fault::Unavailable => {
            refuse(Some(503));
            return Done::Answered(respond(refusal(503, "unavailable", "The system is down.")));
        }
        Fault::ServerError => {
            refuse(Some(500));
            return Done::Answered(respond(refusal(500, "internal", "Something went wrong.")));
        }
        Fault::Throttled => {
            refuse(Some(429));
            let mut response = respond(refusal(429, "too-many-requests", "Slow down."));
            let seconds = HeaderValue::from(retry_after);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            return Done::Answered(response);
        }
        Fault::Timeout(When::Before) => {
            refuse(None);
            return Done::Answered(held_back(hold).await);
        }
        Fault::Reset(When::Before) => {
            refuse(None);
            return Done::Cut;
        }
        Fault::Timeout(When::Late) | Fault::Reset(When::Late) => {
            state.late.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(late).await;
        }
        Fault::Timeout(When::After) | Fault::Reset(When::After) | Fault::None => {}
    }
    let answer = {
        let mut inner = state.inner();
        let answer = apply(&mut inner, &request, OffsetDateTime::now_utc());
        // An answer that will not arrive is recorded as none, though its work is done.
        let status = (fault == Fault::None).then_some(answer.0);
        let applied = answer.0 < 300 && request.method != "GET";
        inner.record(request.call(status, applied), fault != Fault::None);
        answer
    };
    if matches!(fault, Fault::Timeout(When::Late) | Fault::Reset(When::Late)) {
        state.late.fetch_sub(1, Ordering::SeqCst);
    }
    match fault {
        Fault::Timeout(_) => return Done::Answered(held_back(hold).await),
        Fault::Reset(_) => return Done::Cut,
        _ => {}
    }
    Done::Answered(respond(answer))
}

async fn held_back(hold: Duration) -> Response {
    tokio::time::sleep(hold).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

fn apply(inner: &mut Inner, request: &Request, now: OffsetDateTime) -> Answer {
    let Some(entity) = store::entity(&request.entity) else {
        return refusal(404, "no-such-resource", "There is no such resource here.");
    };
    let id = request.external_id.as_str();
    let version = request.source_version.as_deref();
    let guard = inner.version_guard;
    match request.method.as_str() {
        "GET" if id.is_empty() => inner.store.list(entity),
        "GET" => inner.store.get(entity, id),
        "PUT" if !id.is_empty() => {
            let body = &request.body;
            inner.store.put(entity, id, body, version, guard, now)
        }
        "PATCH" if !id.is_empty() => {
            let body = &request.body;
            inner.store.patch(entity, id, body, version, guard, now)
        }
        "DELETE" if !id.is_empty() => inner.store.delete(entity, id, version, guard),
        _ => refusal(
            405,
            "method-not-allowed",
            "This method does not exist here.",
        ),
    }
}

/// What of a request is recorded and used.
struct Request {
    arrival: u64,
    method: String,
    entity: String,
    external_id: String,
    source_version: Option<String>,
    idempotency_key: Option<String>,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    body: Bytes,
}

impl Request {
    fn new(arrival: u64, method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Self {
        let path = uri.path().trim_start_matches('/');
        let (entity, external_id) = path.split_once('/').unwrap_or((path, ""));
        let header = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            arrival,
            method: method.to_string(),
            entity: entity.to_owned(),
            external_id: percent_decode_str(external_id)
                .decode_utf8_lossy()
                .into_owned(),
            source_version: header("x-source-version"),
            idempotency_key: header("idempotency-key"),
            correlation_id: header("x-correlation-id"),
            traceparent: header("traceparent"),
            body,
        }
    }

    fn call(&self, status: Option<u16>, applied: bool) -> Call {
        let hash = || {
            let digest = Sha256::digest(&self.body);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Call {
            at: OffsetDateTime::now_utc(),
            arrival: self.arrival,
            method: self.method.clone(),
            entity: self.entity.clone(),
            external_id: self.external_id.clone(),
            source_version: self.source_version.clone(),
            idempotency_key: self.idempotency_key.clone(),
            correlation_id: self.correlation_id.clone(),
            traceparent: self.traceparent.clone(),
            status,
            applied,
            body_hash: (!self.body.is_empty()).then(hash),
        }
    }
}

fn respond((status, body): Answer) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Some(body) => (status, Json(body)).into_response(),
        None => status.into_response(),
    }
}
