//! `/_admin`: what tests and people do to the environment that no client can.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Port;
use crate::admin;
use crate::dataverse::faults::DataverseFaults;
use crate::dataverse::script::Script;

pub(super) async fn faults(Shared(port): Shared<Port>) -> Json<DataverseFaults> {
    Json(port.state.inner().faults.clone())
}

pub(super) async fn change_faults(Shared(port): Shared<Port>, body: Bytes) -> Response {
    let mut inner = port.state.inner();
    let merged: Result<DataverseFaults, String> = admin::merge(&inner.faults, &body);
    match merged.and_then(|faults| faults.check().map(|()| faults)) {
        Ok(faults) => {
            inner.set_faults(faults);
            Json(inner.faults.clone()).into_response()
        }
        Err(message) => refused("bad-faults", &message),
    }
}

pub(super) async fn scripts(Shared(port): Shared<Port>) -> Json<Vec<Script>> {
    Json(port.state.inner().scripts.pending().to_vec())
}

pub(super) async fn add_script(Shared(port): Shared<Port>, body: Bytes) -> Response {
    let script = serde_json::from_slice::<Script>(&body).map_err(|error| error.to_string());
    match script.and_then(|script| script.check().map(|()| script)) {
        Ok(script) => {
            let mut inner = port.state.inner();
            inner.scripts.add(script);
            Json(inner.scripts.pending().to_vec()).into_response()
        }
        Err(message) => refused("bad-script", &message),
    }
}

pub(super) async fn clear_scripts(Shared(port): Shared<Port>) -> StatusCode {
    port.state.inner().scripts.clear();
    StatusCode::NO_CONTENT
}

/// Totals, and what every user did on every web server.
pub(super) async fn counters(Shared(port): Shared<Port>) -> Json<Value> {
    let counters = port.state.inner().journal.counters.clone();
    let servers = port.state.protection().counts().into_iter();
    let servers: Vec<Value> = servers
        .map(|((identity, server), counts)| {
            let refused = counts.refused.into_iter();
            let refused: Map<_, _> = refused
                .map(|(limit, count)| (limit.code().to_owned(), json!(count)))
                .collect();
            json!({
                "identity": identity,
                "server": server,
                "requests": counts.requests,
                "executionTimeMs": counts.execution_time.as_secs_f64() * 1000.0,
                "peakConcurrency": counts.peak_concurrency,
                "refused": refused,
            })
        })
        .collect();
    Json(json!({
        "requests": counters.integration.total(),
        "batchOperations": counters.integration.batch_operations,
        "faulted": counters.integration.faulted,
        "events": counters.events,
        "rowsChanged": counters.rows_changed,
        "servers": servers,
    }))
}

fn refused(code: &str, message: &str) -> Response {
    let body = json!({"code": code, "message": message});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}
