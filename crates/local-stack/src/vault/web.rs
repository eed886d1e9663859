//! The vault's routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::bodies::{Bodies, error, error_because, time};
use super::guard::guard;
use super::secrets::{DeletedButRecoverable, Named};
use super::{SecretProperties, State, VaultFaults, VaultRequest};
use crate::admin;

/// Most items of a page, and as many as are given to whoever does not ask.
const PAGE: usize = 25;
/// Most bytes of a value.
const LONGEST: usize = 25 * 1024;

type App = Shared<Arc<State>>;

pub(super) fn router(state: Arc<State>) -> Router {
    let guarded = Router::new()
        .route("/secrets", get(list))
        .route("/secrets/", get(list))
        .route("/secrets/{name}", get(read).put(set).delete(delete))
        .route("/secrets/{name}/", get(read).patch(update))
        .route("/secrets/{name}/versions", get(versions))
        .route("/secrets/{name}/{version}", get(read).patch(update))
        .route("/deletedsecrets", get(list_deleted))
        .route("/deletedsecrets/{name}", get(deleted).delete(purge))
        .route("/deletedsecrets/{name}/recover", post(recover))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(state.clone(), guard));
    Router::new()
        .route("/_admin/faults", get(faults).post(change_faults))
        .route("/_admin/requests", get(requests))
        .merge(guarded)
        .with_state(state)
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Paging {
    maxresults: Option<usize>,
    #[serde(rename = "$skiptoken")]
    skip: Option<usize>,
}

impl Paging {
    fn page(&self, bodies: Bodies<'_>, path: &str, items: Vec<Value>) -> Response {
        let most = self.maxresults.unwrap_or(PAGE);
        if most == 0 || most > PAGE {
            let text = "maxresults must be between 1 and 25";
            return refused(StatusCode::BAD_REQUEST, "BadParameter", text);
        }
        let from = self.skip.unwrap_or(0);
        Json(bodies.page(path, items, from, most)).into_response()
    }
}

async fn read(Shared(state): App, Path(asked): Path<Asked>) -> Response {
    let inner = state.inner();
    let named = inner.secrets.get(&asked.name);
    let version = named.and_then(|named| named.version(asked.version.as_deref()));
    match (named, version) {
        (Some(_), Some(held)) if !held.properties.enabled => {
            let text = "Operation get is not allowed on a disabled secret.";
            let body = error_because("Forbidden", text, "SecretDisabled");
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
        // Outside nbf and exp too: the service hands these out, "for test purposes" and "for recovery".
        (Some(named), Some(held)) => {
            Json(Bodies(&state.url).bundle(&named.name, held)).into_response()
        }
        _ => not_found(&asked.name),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    value: Option<String>,
    content_type: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
struct Attributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

impl Change {
    fn apply(&self, properties: &mut SecretProperties) {
        let Attributes { enabled, nbf, exp } = self.attributes;
        properties.enabled = enabled.unwrap_or(properties.enabled);
        properties.not_before = nbf.and_then(time).or(properties.not_before);
        properties.expires = exp.and_then(time).or(properties.expires);
        if let Some(content_type) = &self.content_type {
            properties.content_type = Some(content_type.clone());
        }
        if let Some(tags) = &self.tags {
            properties.tags.clone_from(tags);
        }
    }
}

async fn set(Shared(state): App, Path(asked): Path<Asked>, body: Bytes) -> Response {
    let name = &asked.name;
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || name.len() > 127 || !name.chars().all(valid) {
        let text = format!("The request URI contains an invalid name: {name}");
        return refused(StatusCode::BAD_REQUEST, "BadParameter", &text);
    }
    let change: Option<Change> = serde_json::from_slice(&body).ok();
    let Some((change, value)) = change.and_then(|change| {
        let value = change.value.clone()?;
        Some((change, value)).filter(|(_, value)| value.len() <= LONGEST)
    }) else {
        let text = "Property value is missing or too long.";
        return refused(StatusCode::BAD_REQUEST, "BadParameter", text);
    };
    let mut properties = SecretProperties::default();
    change.apply(&mut properties);
    let now = OffsetDateTime::now_utc();
    match state.inner().secrets.set(name, &value, properties, now) {
        Ok(version) => Json(Bodies(&state.url).bundle(name, &version)).into_response(),
        Err(DeletedButRecoverable) => {
            let text = format!(
                "Secret {name} is currently in a deleted but recoverable state, and its name cannot be \
                 reused; in this state, the secret can only be recovered or purged."
            );
            let body = error_because("Conflict", &text, "ObjectIsDeletedButRecoverable");
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
    }
}

async fn update(Shared(state): App, Path(asked): Path<Asked>, body: Bytes) -> Response {
    let Ok(change) = serde_json::from_slice::<Change>(&body) else {
        let text = "The request body is not valid JSON.";
        return refused(StatusCode::BAD_REQUEST, "BadParameter", text);
    };
    let mut inner = state.inner();
    let found = inner.secrets.get(&asked.name).and_then(|named| {
        let held = named.version(asked.version.as_deref())?;
        Some(held.version.clone())
    });
    let Some(version) = found else {
        return not_found(&asked.name);
    };
    let now = OffsetDateTime::now_utc();
    let picked = |held: &super::SecretVersion| held.version == version;
    inner
        .secrets
        .change(&asked.name, picked, now, |properties| {
            change.apply(properties)
        });
    let changed = inner.secrets.get(&asked.name).and_then(|named| {
        let held = named.version(Some(&version))?;
        Some(Bodies(&state.url).properties(&named.name, held))
    });
    changed.map_or_else(|| not_found(&asked.name), |body| Json(body).into_response())
}

async fn delete(Shared(state): App, Path(asked): Path<Asked>) -> Response {
    let now = OffsetDateTime::now_utc();
    match state.inner().secrets.delete(&asked.name, now) {
        Some(deleted) => Json(Bodies(&state.url).deleted(deleted, true)).into_response(),
        None => not_found(&asked.name),
    }
}

async fn list(Shared(state): App, Query(paging): Query<Paging>) -> Response {
    let bodies = Bodies(&state.url);
    let items = state
        .inner()
        .secrets
        .all()
        .map(|named| bodies.listed(named))
        .collect();
    paging.page(bodies, "/secrets", items)
}

async fn versions(
    Shared(state): App,
    Path(asked): Path<Asked>,
    Query(paging): Query<Paging>,
) -> Response {
    let bodies = Bodies(&state.url);
    let items = |named: &Named| {
        let versions = named.versions.iter();
        versions
            .map(|held| bodies.properties(&named.name, held))
            .collect()
    };
    let items = state.inner().secrets.get(&asked.name).map(items);
    // A secret that is not there has no versions.
    let path = format!("/secrets/{}/versions", asked.name);
    paging.page(bodies, &path, items.unwrap_or_default())
}

async fn list_deleted(Shared(state): App, Query(paging): Query<Paging>) -> Response {
    let bodies = Bodies(&state.url);
    let inner = state.inner();
    let deleted = inner.secrets.all_deleted();
    let items = deleted
        .map(|deleted| bodies.deleted(deleted, false))
        .collect();
    paging.page(bodies, "/deletedsecrets", items)
}

async fn deleted(Shared(state): App, Path(asked): Path<Asked>) -> Response {
    match state.inner().secrets.deleted(&asked.name) {
        Some(deleted) => Json(Bodies(&state.url).deleted(deleted, true)).into_response(),
        None => not_found(&asked.name),
    }
}

async fn purge(Shared(state): App, Path(asked): Path<Asked>) -> Response {
    if state.inner().secrets.purge(&asked.name) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        not_found(&asked.name)
    }
}

async fn recover(Shared(state): App, Path(asked): Path<Asked>) -> Response {
    let bodies = Bodies(&state.url);
    let mut inner = state.inner();
    let recovered = inner.secrets.recover(&asked.name);
    let body =
        recovered.and_then(|named| Some(bodies.properties(&named.name, named.version(None)?)));
    body.map_or_else(|| not_found(&asked.name), |body| Json(body).into_response())
}

async fn unknown() -> Response {
    let text = "This stand-in has the secrets of a vault, not its keys, certificates or backups.";
    refused(StatusCode::BAD_REQUEST, "BadParameter", text)
}

async fn faults(Shared(state): App) -> Json<VaultFaults> {
    Json(state.inner().faults.clone())
}

async fn change_faults(Shared(state): App, body: Bytes) -> Response {
    let mut inner = state.inner();
    match admin::merge(&inner.faults, &body) {
        Ok(faults) => {
            inner.faults = faults;
            Json(inner.faults.clone()).into_response()
        }
        Err(message) => refused(StatusCode::BAD_REQUEST, "BadParameter", &message),
    }
}

async fn requests(Shared(state): App) -> Json<Vec<VaultRequest>> {
    Json(state.inner().requests.clone())
}

fn not_found(name: &str) -> Response {
    let text = format!(
        "A secret with (name/id) {name} was not found in this key vault. If you recently \
         deleted this secret you may be able to recover it using the correct recovery \
         command. For help resolving this issue, please see \
         https://go.microsoft.com/fwlink/?linkid=2125182"
    );
    refused(StatusCode::NOT_FOUND, "SecretNotFound", &text)
}

pub(super) fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(error(code, message))).into_response()
}
