//! `/_admin`: a broker's test hooks over HTTP, on a port of its own, for tests that are not in this
//! process.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::{Disturbance, Script, Whom};
use super::hooks::Hooks;
use crate::serve::{Bound, Server, StartError};

/// The running endpoint; dropping it stops it.
#[derive(Debug)]
pub struct BrokerAdmin {
    server: Server,
}

impl BrokerAdmin {
    /// Serves the hooks of a broker on a loopback port; 0 lets the system choose.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start(hooks: Hooks, port: u16) -> Result<Self, StartError> {
        let router = Router::new()
            .route(
                "/_admin/script",
                get(scripts).post(add_script).delete(clear_scripts),
            )
            .route("/_admin/connections", get(connections))
            .route("/_admin/disturb", post(disturb))
            .route("/_admin/partition", post(partition))
            .route("/_admin/lose-locks", post(lose_locks))
            .with_state(hooks);
        let server = Bound::take("Service Bus admin", port)
            .await?
            .serve(router, None);
        Ok(Self { server })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Its address as a URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Stops listening.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

async fn scripts(Shared(hooks): Shared<Hooks>) -> Json<Vec<Script>> {
    Json(hooks.pending())
}

async fn add_script(Shared(hooks): Shared<Hooks>, body: Bytes) -> Response {
    match read(&body).and_then(|script| hooks.script(script)) {
        Ok(()) => Json(hooks.pending()).into_response(),
        Err(message) => refused(&message),
    }
}

async fn clear_scripts(Shared(hooks): Shared<Hooks>) -> StatusCode {
    hooks.clear();
    StatusCode::NO_CONTENT
}

async fn connections(Shared(hooks): Shared<Hooks>) -> Response {
    Json(hooks.connections()).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToDisturb {
    #[serde(default)]
    whom: Whom,
    what: Disturbance,
}

async fn disturb(Shared(hooks): Shared<Hooks>, body: Bytes) -> Response {
    match read::<ToDisturb>(&body) {
        Ok(ToDisturb { whom, what }) => done("told", hooks.disturb(&whom, &what)),
        Err(message) => refused(&message),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToPart {
    ms: u64,
}

async fn partition(Shared(hooks): Shared<Hooks>, body: Bytes) -> Response {
    match read::<ToPart>(&body) {
        Ok(ToPart { ms }) => {
            hooks.partition(Duration::from_millis(ms));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(message) => refused(&message),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToLose {
    entity: String,
}

async fn lose_locks(Shared(hooks): Shared<Hooks>, body: Bytes) -> Response {
    let lost = read::<ToLose>(&body).and_then(|ToLose { entity }| {
        let lost = hooks.lose_locks(&entity);
        lost.ok_or_else(|| format!("there is no entity {entity:?}"))
    });
    match lost {
        Ok(lost) => done("lost", lost),
        Err(message) => refused(&message),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn done(what: &str, count: usize) -> Response {
    Json(json!({ what: count })).into_response()
}

fn refused(message: &str) -> Response {
    let error: Value = json!({ "error": { "code": "bad-request", "message": message } });
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}
