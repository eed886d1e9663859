//! What the page is served by: its files, the state, stories of changes, and what a person may do.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dead_letters::Place;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use local_stack::insights::story::{self, Story};
use local_stack::insights::{Reader, Wanted, kql};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_bus::Client;
use tokio::sync::Semaphore;
use tracing::warn;

use super::letters::resend;
use super::{Action, Shared, lock};

/// More that waits to be done is refused.
const MOST_ACTIONS: usize = 64;

/// What the routes work with.
pub(super) struct Server {
    pub(super) shared: Shared,
    /// Telemetry items, and where `dvsync trace` finds them.
    pub(super) telemetry: Option<(Reader, String)>,
    pub(super) client: Client,
    pub(super) places: Vec<Place>,
    /// Two that resend at once would hold letters from each other.
    pub(super) resending: Semaphore,
}

type App = State<Arc<Server>>;

pub(super) fn router(server: Arc<Server>) -> Router {
    let html = || file("text/html; charset=utf-8", include_str!("page.html"));
    let css = || file("text/css; charset=utf-8", include_str!("page.css"));
    let js = |text| file("text/javascript; charset=utf-8", text);
    Router::new()
        .route("/", get(async move || html()))
        .route("/page.css", get(async move || css()))
        .route("/page.js", get(async move || js(include_str!("page.js"))))
        .route(
            "/common.js",
            get(async move || js(include_str!("common.js"))),
        )
        .route("/trace.js", get(async move || js(include_str!("trace.js"))))
        .route("/state.json", get(state))
        .route("/trace/{name}", get(trace))
        .route("/act/{action}", post(act))
        .route("/resend", post(send_again))
        .with_state(server)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, text).into_response()
}

/// Whether the request was made to this machine by name or address. A name that somebody else's DNS points
/// here is not.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let name = host.and_then(|host| Some(host.rsplit_once(':')?.0));
    matches!(name, Some("127.0.0.1" | "localhost"))
}

/// Whether a page of ours made the request.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
    is_local(headers) && origin.is_some() && origin == text(HOST)
}

async fn state(State(server): App, headers: HeaderMap) -> Response {
    if !is_local(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let snapshot = {
        let mut shared = lock(&server.shared);
        shared.asked = Some(Instant::now());
        shared.snapshot.clone()
    };
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, snapshot).into_response()
}

/// The story of a change as far as it has been told, and how to see it elsewhere.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// Whether this run has telemetry at all.
    telemetry: bool,
    story: Option<Story>,
    command: String,
    kql: String,
}

async fn trace(State(server): App, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if !is_local(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let id = name.strip_suffix(".json").unwrap_or_default();
    let Ok(wanted) = Wanted::parse(id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (telemetry, option) = match &server.telemetry {
        Some((reader, url)) => (Some(reader.clone()), crate::trace::url_option(url)),
        None => (None, String::new()),
    };
    let mut told = Told {
        telemetry: telemetry.is_some(),
        story: None,
        command: format!("dvsync trace {id}{option}"),
        kql: kql(&wanted),
    };
    if let Some(reader) = telemetry {
        // Looks through all that is held.
        let look = move || story::of(&reader.items_of(&wanted), &wanted);
        match tokio::task::spawn_blocking(look).await {
            Ok(story) => told.story = story,
            Err(error) => {
                warn!(%error, id, "the story of a change could not be told on the live page");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        }
    }
    ([(CACHE_CONTROL, "no-store")], Json(told)).into_response()
}

async fn act(State(server): App, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if !is_same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(action) = Action::named(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut shared = lock(&server.shared);
    if shared.actions.len() >= MOST_ACTIONS {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    shared.actions.push(action);
    StatusCode::ACCEPTED.into_response()
}

/// Which dead letters to send again.
#[derive(Debug, Deserialize)]
struct Which {
    queue: String,
    /// All of the queue without it.
    number: Option<i64>,
}

async fn send_again(
    State(server): App,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Response {
    if !is_same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let place = server.places.iter().find(|p| p.name() == which.queue);
    let (Some(place), Ok(_turn)) = (place, server.resending.acquire().await) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = |status: StatusCode, body: Value| (status, Json(body)).into_response();
    match resend(&server.client, place, which.number).await {
        Ok(sent) => answer(StatusCode::OK, json!({ "resent": sent })),
        Err(error) => {
            warn!(%error, queue = place.name(), "dead letters were not resent from the live page");
            let problem = error.to_string();
            answer(StatusCode::BAD_GATEWAY, json!({ "problem": problem }))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_the_page_itself_may_act() {
        let own = headers("127.0.0.1:8300", Some("http://127.0.0.1:8300"));
        assert!(is_same_origin(&own));
        let foreign = headers("127.0.0.1:8300", Some("http://evil.example"));
        assert!(!is_same_origin(&foreign));
        assert!(!is_same_origin(&headers("127.0.0.1:8300", None)));
        let rebound = headers("evil.example:8300", Some("http://evil.example:8300"));
        assert!(!is_same_origin(&rebound));
    }
}
