//! Routes the host's requests to functions, and turns whatever a function does into an answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, Uri};
use tracing::Instrument;
use uuid::Uuid;

use crate::reply::problem;
use crate::{InFlight, Invocation, InvocationFailed, Reply};

const INVOCATION_ID_HEADER: &str = "x-azure-functions-invocationid";
const DEFAULT_BODY_LIMIT: usize = 100 * 1024 * 1024;

type FunctionFuture = Pin<Box<dyn Future<Output = Result<Reply, InvocationFailed>> + Send>>;
type Function = Arc<dyn Fn(Invocation) -> FunctionFuture + Send + Sync>;

/// The functions of one handler process.
#[derive(Clone)]
pub struct HandlerApp {
    functions: BTreeMap<String, Function>,
    body_limit: usize,
    in_flight: InFlight,
}

impl Default for HandlerApp {
    fn default() -> Self {
        Self::new()
    }
}

impl HandlerApp {
    /// A handler without functions.
    pub fn new() -> Self {
        Self {
            functions: BTreeMap::new(),
            body_limit: DEFAULT_BODY_LIMIT,
            in_flight: InFlight::new(),
        }
    }

    /// Adds a function under the name of its folder in the package, whose case the host keeps.
    ///
    /// A function that panics has failed. One that has begun runs to its end even if the host stops
    /// waiting for it.
    #[must_use]
    pub fn function<F, R>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(Invocation) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, InvocationFailed>> + Send + 'static,
    {
        let function: Function = Arc::new(move |invocation| Box::pin(function(invocation)));
        self.functions.insert(name.into(), function);
        self
    }

    /// The largest request body accepted, in bytes. Default 100 MiB, enough for a batch of messages.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// A handle on the number of running invocations.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// The handler as a router, for tests or to be served by other means than [`HandlerApp::serve`].
    pub fn into_router(self) -> Router {
        let body_limit = DefaultBodyLimit::max(self.body_limit);
        Router::new()
            // Readiness and health. It depends on nothing: the probe has no timeout of its own.
            .route("/", get(|| async { "ready" }))
            .route("/{function}", post(invoke))
            .fallback(|uri: Uri| async move {
                problem(
                    StatusCode::NOT_FOUND,
                    "",
                    "",
                    &format!("nothing is served at {}", uri.path()),
                )
            })
            .method_not_allowed_fallback(|| async {
                problem(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "",
                    "",
                    "functions are invoked by POST",
                )
            })
            .layer(body_limit)
            .with_state(Arc::new(self))
    }
}

async fn invoke(
    State(app): State<Arc<HandlerApp>>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let text_header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    // The host always sends an id; a person with curl need not.
    let id = text_header(INVOCATION_ID_HEADER).unwrap_or_else(|| Uuid::new_v4().to_string());
    let refuse = |status: StatusCode, detail: String| {
        tracing::error!(
            function.name = function,
            invocation.id = id,
            http.status = status.as_u16(),
            "invocation of {function} refused: {detail}"
        );
        problem(status, &function, &id, &detail)
    };
    let Some(run) = app.functions.get(&function) else {
        let known = app
            .functions
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        return refuse(
            StatusCode::NOT_FOUND,
            format!("no function named {function:?}; there are: {known}"),
        );
    };
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    let invocation = match Invocation::decode(
        id.clone(),
        function.clone(),
        text_header("traceparent"),
        &body,
    ) {
        Ok(invocation) => invocation,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
    };
    drop(body);
    let span = tracing::info_span!("invocation", function.name = function, invocation.id = id);
    match run_to_end(Arc::clone(run), invocation, app.in_flight.clone())
        .instrument(span)
        .await
    {
        Ok(reply) => reply.into_response(),
        Err(failed) => {
            tracing::error!(
                function.name = function,
                invocation.id = id,
                error.message = %failed,
                "invocation of {function} failed: {failed}"
            );
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                &function,
                &id,
                &failed.to_string(),
            )
        }
    }
}

/// Runs the function in a task of its own: a panic ends only that task, and a connection that breaks
/// does not drop the function half-way between two effects.
async fn run_to_end(
    run: Function,
    invocation: Invocation,
    in_flight: InFlight,
) -> Result<Reply, InvocationFailed> {
    let guard = in_flight.enter();
    let task = async move {
        let result = run(invocation).await;
        drop(guard);
        result
    };
    match tokio::spawn(task.in_current_span()).await {
        Ok(result) => result,
        Err(join_error) => Err(InvocationFailed::new(if join_error.is_panic() {
            "the function panicked; the panic's message is on stderr"
        } else {
            "the function was cancelled, because the process is ending"
        })),
    }
}
