//! The live page of a run: a snapshot for whoever looks, and the things a person may do to it.
//!
//! The run feeds the page between its other looks, and only while somebody looks. What a person does waits
//! for the run's next look too, so that the stack has one owner.

mod board;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, StatusCode};
use local_stack::stack::Stack;
use serde_json::json;

use super::lanes::Lane;
use board::Board;

/// How often the snapshot is made anew.
const PERIOD: Duration = Duration::from_millis(500);
/// Nobody looks any more when nobody has asked for so long.
const ATTENTION: Duration = Duration::from_secs(5);
/// More that waits to be done is refused.
const MOST_ACTIONS: usize = 64;

/// What a person does on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Break,
    Mend,
    Change,
    Refused,
}

impl Action {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "break" => Self::Break,
            "mend" => Self::Mend,
            "change" => Self::Change,
            "refused" => Self::Refused,
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Shared {
    snapshot: String,
    asked: Option<Instant>,
    actions: Vec<Action>,
}

type Handle = Arc<Mutex<Shared>>;

fn lock(handle: &Handle) -> MutexGuard<'_, Shared> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The page, served until it is dropped.
pub(super) struct Page {
    url: String,
    shared: Handle,
    board: Board,
    made: Option<Instant>,
    changed: usize,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Page {
    /// Serves it on 127.0.0.1; port 0 lets the system choose.
    pub(super) async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| {
                format!("the live page cannot listen on 127.0.0.1:{port}; try another --page-port")
            })?;
        let url = format!("http://{}/", listener.local_addr()?);
        let shared = Handle::default();
        lock(&shared).snapshot = "{}".to_owned();
        let router = router(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // axum's serve loop has no error to give.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            shared,
            board: Board::default(),
            made: None,
            changed: 0,
            server,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Does what was asked on the page, and brings it up to date if somebody looks.
    pub(super) fn follow(&mut self, stack: &Stack, lane: &Lane<'_>) {
        let (actions, watched) = {
            let mut shared = lock(&self.shared);
            let watched = shared.asked.is_some_and(|at| at.elapsed() < ATTENTION);
            (std::mem::take(&mut shared.actions), watched)
        };
        for action in actions {
            self.act(stack, action);
        }
        if !watched || self.made.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.made = Some(Instant::now());
        self.board.follow(stack, lane);
        let snapshot = self.board.snapshot(stack).to_string();
        lock(&self.shared).snapshot = snapshot;
    }

    fn act(&mut self, stack: &Stack, action: Action) {
        let number = self.changed;
        let saved = match action {
            Action::Break => return stack.target.set_down(true),
            Action::Mend => return stack.target.set_down(false),
            Action::Change => {
                let mut ids = stack.dataverse.ids("account");
                ids.sort_unstable();
                let id = ids.get(number % ids.len().max(1)).copied();
                let phone = format!("555-{:04}", number % 10_000);
                stack
                    .dataverse
                    .save("account", id, &json!({"telephone1": phone}))
            }
            Action::Refused => stack
                .dataverse
                .save("account", None, &json!({"name": "REJECT me"})),
        };
        self.changed += 1;
        if let Err(error) = saved {
            tracing::warn!(%error, "a change asked for on the live page was not saved");
        }
    }
}

fn router(shared: Handle) -> Router {
    let html = || file("text/html; charset=utf-8", include_str!("page.html"));
    let css = || file("text/css; charset=utf-8", include_str!("page.css"));
    let js = || file("text/javascript; charset=utf-8", include_str!("page.js"));
    Router::new()
        .route("/", get(async move || html()))
        .route("/page.css", get(async move || css()))
        .route("/page.js", get(async move || js()))
        .route("/state.json", get(state))
        .route("/act/{action}", post(act))
        .with_state(shared)
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

async fn state(State(shared): State<Handle>, headers: HeaderMap) -> Response {
    if !is_local(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let snapshot = {
        let mut shared = lock(&shared);
        shared.asked = Some(Instant::now());
        shared.snapshot.clone()
    };
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, snapshot).into_response()
}

async fn act(
    State(shared): State<Handle>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !is_same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(action) = Action::named(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut shared = lock(&shared);
    if shared.actions.len() >= MOST_ACTIONS {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    shared.actions.push(action);
    StatusCode::ACCEPTED.into_response()
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
