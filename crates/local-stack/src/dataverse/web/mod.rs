//! The Web API over HTTP: who calls, what goes wrong on purpose, then the operation.

mod annotation;
mod batch;
mod bulk_delete;
mod caller;
mod control;
mod dispatch;
mod headers;
mod list;
mod message;
mod metadata;
mod mishap;
mod multipart;
mod multiple;
mod plug_in_steps;
mod property;
mod read;
mod served;
mod track;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use time::OffsetDateTime;
use uuid::Uuid;

use self::caller::caller;
use self::message::{ApiRequest, ApiResponse};
use self::served::Served;
use super::faults::Fault;
use super::journal::RequestKind;
use super::odata::path::below_root;
use super::{State, trace};
use crate::serve::Connection;

pub(super) use read::document;
pub(super) use write::{delete_row, save_row};

/// Requests with this header are a user's, not the integration's: they need no token, and no
/// scripted fault hits them. The local stack's own pages and tools send it.
pub const USER_HEADER: &str = "x-local-user";

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What every handler is given: the environment, and the port it was called on.
#[derive(Debug, Clone)]
struct Port {
    state: Arc<State>,
    scheme: Scheme,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    User,
    Integration,
}

/// What is known of one HTTP request before its operation runs.
#[derive(Debug)]
struct Context {
    side: Side,
    /// The environment's URL as the caller wrote it: links in answers begin with it.
    url: String,
    /// Id of the user row behind the caller.
    user_id: Uuid,
    /// Client id of the caller.
    identity: String,
    now: OffsetDateTime,
    correlation_id: Uuid,
    traceparent: String,
    /// Execution time so far, microseconds.
    spent: AtomicU64,
}

impl Context {
    /// Adds execution time.
    fn spend(&self, cost: Duration) {
        let cost = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        self.spent.fetch_add(cost, Ordering::Relaxed);
    }

    fn spent(&self) -> Duration {
        Duration::from_micros(self.spent.load(Ordering::Relaxed))
    }
}

pub(super) fn router(state: Arc<State>, scheme: Scheme) -> Router {
    Router::new()
        .route(
            "/_admin/faults",
            get(control::faults).post(control::change_faults),
        )
        .route(
            "/_admin/script",
            get(control::scripts)
                .post(control::add_script)
                .delete(control::clear_scripts),
        )
        .route("/_admin/counters", get(control::counters))
        .fallback(call)
        // A batch of a thousand operations is larger than axum's 2 MB.
        .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(Port { state, scheme })
}

async fn call(
    Shared(port): Shared<Port>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(path) = below_root(uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let request = ApiRequest {
        method,
        path: path.to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    };
    // In a task of its own: a caller that gives up does not undo what it asked for.
    let work = tokio::spawn(async move { process(&port, request).await });
    match work.await {
        Ok(Some(response)) => response,
        // Reset on purpose, or a panic: no answer either way.
        _ => {
            connection.cut();
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

/// Answers one HTTP request; `None` means that the connection is to be reset.
async fn process(port: &Port, request: ApiRequest) -> Option<Response> {
    let state = &port.state;
    let now = OffsetDateTime::now_utc();
    let kind = dispatch::kind(&request);
    let url = called_url(port, &request);
    let caller = match caller(state, &request, &url, now) {
        Ok(caller) => caller,
        Err(refused) => {
            state.inner().count(Side::Integration, kind, false);
            let server = Served::unlimited(state, &request);
            return Some(respond(&server, *refused));
        }
    };
    let side = caller.side;
    let served = match Served::begin(state, &request, &caller) {
        Ok(served) => served,
        Err(refused) => {
            state.inner().count(side, kind, false);
            return Some(*refused);
        }
    };
    let (fault, script, latency, retry_after) = {
        let mut inner = state.inner();
        let script = inner.scripted(
            side,
            request.method.as_str(),
            &request.relative_url(),
            false,
        );
        let fault = match script {
            Some(_) => Fault::None,
            None => inner.draw(side),
        };
        inner.count(side, kind, fault != Fault::None || script.is_some());
        let latency = match side {
            Side::User => 0,
            Side::Integration => inner.faults.latency_ms,
        };
        (fault, script, latency, inner.faults.retry_after_s)
    };
    let latency = latency + script.as_ref().map_or(0, mishap::latency);
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let scripted = script
        .as_ref()
        .and_then(|script| mishap::of(script, state.tenant));
    let (before, after) = match script {
        Some(script) if script.after_commit => (None, scripted),
        _ => (
            scripted.or_else(|| mishap::before(fault, retry_after, state.tenant)),
            mishap::after(fault),
        ),
    };
    if let Some(mishap) = before {
        return mishap.map(|answer| respond(&served, answer));
    }
    let context = Context {
        side,
        url,
        user_id: caller.user_id,
        identity: caller.identity.clone(),
        now,
        correlation_id: correlation(&request),
        traceparent: trace::parent(request.header("traceparent")),
        spent: AtomicU64::new(0),
    };
    let answer = if request.url_length() > LONGEST_URL {
        ApiResponse::empty(StatusCode::URI_TOO_LONG)
    } else if kind == RequestKind::Batch {
        batch::answer(state, &context, &request)
    } else {
        dispatch::run(state, &context, &request)
    };
    served.spend(context.spent()).await;
    let answer = after.unwrap_or(Some(answer));
    answer.map(|answer| respond(&served, answer))
}

/// The scheme and the host the caller addressed: an environment has several names (here
/// `localhost` and `127.0.0.1`), and clients compare its links with the name they use.
fn called_url(port: &Port, request: &ApiRequest) -> String {
    match request.header("host") {
        Some(host) => format!("{}://{host}", port.scheme.as_str()),
        None => port.state.url.clone(),
    }
}

/// The longest URL a request may have, in bytes; inside a batch it may be twice as long.
const LONGEST_URL: usize = 32 * 1024;

/// The id a client gave the whole chain of calls (`x-ms-correlation-id`), or a new one.
fn correlation(request: &ApiRequest) -> Uuid {
    let sent = request.header("x-ms-correlation-id");
    let sent = sent.and_then(|id| Uuid::parse_str(id).ok());
    sent.unwrap_or_else(Uuid::new_v4)
}

fn respond(served: &Served, answer: ApiResponse) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    headers::add(served, response.headers_mut());
    response
}

/// A header every answer of an operation carries, alone or in a batch.
fn odata_version(response: ApiResponse) -> ApiResponse {
    response.with(HeaderName::from_static("odata-version"), "4.0")
}
