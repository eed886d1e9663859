//! The routes: ingestion for the apps, and the items for people.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::item::Item;
use super::query::Wanted;
use super::{InsightsFaults, Outage, State, body, envelope};
use crate::admin;
use crate::serve::Connection;

/// Audience of tokens for ingestion.
const RESOURCE: &str = "https://monitor.azure.com";
/// Most bytes of a body as it is sent.
const LARGEST: usize = 64 * 1024 * 1024;

type App = Shared<Arc<State>>;

pub(super) fn ingestion(state: Arc<State>) -> Router {
    Router::new()
        .route("/v2/track", post(track))
        .route("/v2.1/track", post(track))
        // The endpoint of a connection string ends in a slash, and the Python exporter puts another after it.
        .route("//v2/track", post(track))
        .route("//v2.1/track", post(track))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(state)
}

pub(super) fn people(state: Arc<State>) -> Router {
    Router::new()
        .route("/items", get(items))
        .route("/counts", get(counts))
        .route("/_admin/faults", get(faults).post(change_faults))
        .with_state(state)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ItemError {
    index: usize,
    status_code: u16,
    message: String,
}

async fn track(
    Shared(state): App,
    ConnectInfo(connection): ConnectInfo<Connection>,
    headers: HeaderMap,
    sent: Bytes,
) -> Response {
    let (faults, failure) = {
        let mut inner = state.inner();
        inner.requests += 1;
        let failure = inner.faults.draw();
        (inner.faults.clone(), failure)
    };
    match faults.outage {
        Outage::No => {}
        Outage::Cut => {
            connection.cut();
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Outage::Silent => std::future::pending().await,
    }
    if faults.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.delay_ms)).await;
    }
    if let Some(key) = &state.auth {
        let now = OffsetDateTime::now_utc();
        if let Err(reason) = key.verify_bearer(&headers, RESOURCE, now) {
            return refused(StatusCode::UNAUTHORIZED, 0, &reason.to_string());
        }
    }
    let gzip = headers.get(header::CONTENT_ENCODING);
    let gzip = gzip.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let items = match body::items(&sent, gzip) {
        Ok(items) => items,
        Err(reason) => return refused(StatusCode::BAD_REQUEST, 0, &reason),
    };
    if let Some(status) = failure {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = refused(status, items.len(), "Ingestion was told to fail.");
        with_retry_after(&faults, &mut response);
        return response;
    }
    let errors = accept(&state, &items);
    let accepted = items.len() - errors.len();
    let status = match (errors.is_empty(), accepted) {
        (true, _) => StatusCode::OK,
        (false, 0) if errors.iter().all(|error| error.status_code == 400) => {
            StatusCode::BAD_REQUEST
        }
        (false, _) => StatusCode::PARTIAL_CONTENT,
    };
    let answer = json!({"itemsReceived": items.len(), "itemsAccepted": accepted, "errors": errors});
    let mut response = (status, Json(answer)).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        with_retry_after(&faults, &mut response);
    }
    response
}

/// Takes in what is whole; returns what is not.
pub(super) fn accept(state: &State, items: &[Value]) -> Vec<ItemError> {
    let mut errors = Vec::new();
    let mut inner = state.inner();
    let inner = &mut *inner;
    for (index, item) in items.iter().enumerate() {
        let (status_code, message) = match envelope::check(item, state.key) {
            Err(message) => (400, message),
            Ok(()) => match inner.faults.draw_item() {
                Some(status) => (status, "The item was told to fail.".to_owned()),
                None => {
                    inner.store.push(item);
                    continue;
                }
            },
        };
        errors.push(ItemError {
            index,
            status_code,
            message,
        });
    }
    inner.store.flush();
    inner.refused += errors.len() as u64;
    errors
}

fn refused(status: StatusCode, received: usize, message: &str) -> Response {
    let error = json!({"index": 0, "statusCode": status.as_u16(), "message": message});
    let answer = json!({"itemsReceived": received, "itemsAccepted": 0, "errors": [error]});
    (status, Json(answer)).into_response()
}

fn with_retry_after(faults: &InsightsFaults, response: &mut Response) {
    if let Some(seconds) = faults.retry_after_s {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Envelopes, one a line: all, of one operation (`?operation=`), or what the story of an id needs (`?id=`).
async fn items(Shared(state): App, Query(asked): Query<HashMap<String, String>>) -> Response {
    let found: Vec<Item> = if let Some(operation) = asked.get("operation") {
        state.inner().store.operation(&operation.to_lowercase())
    } else if let Some(id) = asked.get("id") {
        match Wanted::parse(id) {
            Ok(wanted) => state.inner().store.of(&wanted),
            Err(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
        }
    } else {
        state.inner().store.read(|_| true)
    };
    let lines = found.iter().map(|item| format!("{}\n", item.raw));
    let body: String = lines.collect();
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

async fn counts(Shared(state): App) -> Response {
    Json(state.counts()).into_response()
}

async fn faults(Shared(state): App) -> Json<InsightsFaults> {
    Json(state.inner().faults.clone())
}

async fn change_faults(Shared(state): App, change: Bytes) -> Response {
    let mut inner = state.inner();
    match admin::merge(&inner.faults, &change) {
        Ok(faults) => {
            inner.faults = faults;
            Json(inner.faults.clone()).into_response()
        }
        Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
    }
}
