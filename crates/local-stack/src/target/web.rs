//! The API over HTTP: authentication, faults, then the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::echo;
use super::faults::{Fault, When};
use super::store::{self, Answer, refusal};
use super::{Call, Faults, Inner, State, schema};
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
    let (trusted, crowded) = {
        let mut inner = state.inner();
        let trusted = inner.door.trusts(&headers);
        (trusted, trusted && inner.door.is_crowded(Instant::now()))
    };
    // In a task of its own: a caller that gives up does not stop the work, which may well be
    // applied after the caller has gone away.
    let work = tokio::spawn(async move { process(state, request, trusted, crowded).await });
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

async fn process(state: Arc<State>, request: Request, trusted: bool, crowded: bool) -> Done {
    if !trusted {
        let answer = refusal(
            401,
            "unauthorized",
            "What proves who calls is missing or wrong.",
        );
        let call = request.call(Some(401), false);
        state.inner().record(call, false);
        return Done::Answered(respond(answer));
    }
    let (fault, latency, hold, late, retry_after, echo) = {
        let mut inner = state.inner();
        let fault = match inner.draw(request.method != "GET") {
            Fault::None if crowded => Fault::Throttled,
            fault => fault,
        };
        let faults = &inner.faults;
        (
            fault,
            Duration::from_millis(faults.latency_ms),
            Duration::from_millis(faults.hold_ms),
            Duration::from_millis(faults.late_ms),
            faults.retry_after_s,
            faults.echo,
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
            if echo {
                return Done::Answered(echo::page(&request.headers, &request.body));
            }
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
        let mut answer = apply(&state, &mut inner, &request, OffsetDateTime::now_utc());
        if let (1.., Some(body)) = (inner.faults.padding_bytes, answer.1.as_mut()) {
            body["padding"] = "x".repeat(inner.faults.padding_bytes).into();
        }
        if echo && answer.0 == 422 {
            answer.1 = Some(echo::refusal(&request.body));
        }
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

fn apply(state: &State, inner: &mut Inner, request: &Request, now: OffsetDateTime) -> Answer {
    let Some(entity) = store::entity(&request.entity) else {
        return refusal(404, "no-such-resource", "There is no such resource here.");
    };
    let id = match external_id(state, inner, entity, request) {
        Ok(id) => id,
        Err(answer) => return answer,
    };
    let version = request.source_version.as_deref();
    let (guard, body) = (inner.version_guard, &request.body);
    let writes = matches!(request.method.as_str(), "POST" | "PUT");
    if let (true, Some(schema)) = (writes, state.schemas.get(entity)) {
        let row: Option<Value> = serde_json::from_slice(body).ok();
        let row = row.as_ref().and_then(Value::as_object);
        if let Some(refused) = row.and_then(|row| schema::check(schema, row)) {
            return refused;
        }
    }
    match request.method.as_str() {
        "GET" if request.found_by.is_some() => inner.store.find(entity, &id),
        "GET" if id.is_empty() => inner.store.list(entity),
        "GET" => inner.store.get(entity, &id),
        "POST" if inner.store.row(entity, &id).is_some() => {
            refusal(409, "duplicate", "There is a row with this external id.")
        }
        "PUT" | "POST" if !id.is_empty() => inner.store.put(entity, &id, body, version, guard, now),
        "PATCH" if !id.is_empty() => inner.store.patch(entity, &id, body, version, guard, now),
        "DELETE" if !id.is_empty() => inner.store.delete(entity, &id, version, guard),
        _ => refusal(
            405,
            "method-not-allowed",
            "This method does not exist here.",
        ),
    }
}

/// Which row a call is about, empty for all.
fn external_id(
    state: &State,
    inner: &Inner,
    entity: &'static str,
    request: &Request,
) -> Result<String, Answer> {
    if let Some(found_by) = &request.found_by {
        return Ok(found_by.clone());
    }
    if state.upsert {
        return match request.method.as_str() {
            "POST" => Ok(String::new()),
            _ => Ok(request.external_id.clone()),
        };
    }
    if request.method == "POST" {
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let id = body.and_then(|body| Some(body.get("externalId")?.as_str()?.to_owned()));
        return id.ok_or_else(|| store::invalid("missing-field", "externalId"));
    }
    if request.external_id.is_empty() {
        return Ok(String::new());
    }
    let id = inner.store.external_id(entity, &request.external_id);
    id.ok_or_else(|| refusal(404, "not-found", "No row has this id."))
}

/// What of a request is recorded and used.
struct Request {
    arrival: u64,
    method: String,
    entity: String,
    /// What the path ends with: the external id, or without upsert the system's own.
    external_id: String,
    /// The external id of a query.
    found_by: Option<String>,
    source_version: Option<String>,
    idempotency_key: Option<String>,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    headers: HeaderMap,
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
            found_by: found_by(uri.query().unwrap_or_default()),
            source_version: header("x-source-version"),
            idempotency_key: header("idempotency-key"),
            correlation_id: header("x-correlation-id"),
            traceparent: header("traceparent"),
            headers: headers.clone(),
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

fn found_by(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, id) = pairs.find(|(name, _)| name == "externalId")?;
    Some(id.into_owned())
}

fn respond((status, body): Answer) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Some(body) => (status, Json(body)).into_response(),
        None => status.into_response(),
    }
}
