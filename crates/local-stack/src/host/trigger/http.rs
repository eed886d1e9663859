//! Answers HTTP requests by invocations.
//!
//! Keys are not looked at, whatever the `authLevel`: Azure Functions Core Tools does not either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::host::config::{FunctionConfig, HttpTriggerConfig, Parameters};
use crate::host::encode::{HttpRequest, Sys, encode_http};
use crate::host::invoke::{Dispatcher, InvocationError};

/// The longest request (azure-functions-host `MaxRequestBodySize`: 100 MB).
const MAX_BODY: usize = 104_857_600;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The HTTP functions of a running host.
pub(crate) struct HttpListener {
    /// Those that say more in their route first.
    functions: Vec<(Arc<FunctionConfig>, HttpTriggerConfig)>,
    prefix: String,
    forwards: bool,
    dispatcher: Dispatcher,
    /// Cancelled when nobody waits for running invocations any more.
    over: CancellationToken,
}

impl HttpListener {
    pub(crate) fn new(
        mut functions: Vec<(Arc<FunctionConfig>, HttpTriggerConfig)>,
        dispatcher: Dispatcher,
    ) -> Self {
        functions.sort_by_key(|(_, config)| config.route.precedence());
        HttpListener {
            functions,
            prefix: dispatcher.host.route_prefix.clone(),
            forwards: dispatcher.host.forwards_http,
            dispatcher,
            over: CancellationToken::new(),
        }
    }

    /// Serves until `stop`; requests that are being answered then still are. When this is dropped before
    /// they have been, they are answered with 503.
    pub(crate) async fn run(self, socket: Arc<TcpListener>, stop: CancellationToken) {
        // Connections are tasks of their own, which do not end with this one.
        let _over = self.over.clone().drop_guard();
        let router = Router::new().fallback(answer).with_state(Arc::new(self));
        let serving = axum::serve(Socket(socket), router);
        // axum's serve loop has no error to give: accepting is this module's own code.
        let _ = serving.with_graceful_shutdown(stop.cancelled_owned()).await;
    }

    /// The function for a request, and the parameters in its path.
    fn find(&self, request: &Request) -> Option<(&Arc<FunctionConfig>, Parameters)> {
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let path = path.trim_start_matches('/');
        let path = match self.prefix.as_str() {
            "" => path,
            prefix => {
                let (head, rest) = path.split_at_checked(prefix.len())?;
                let fits = head.eq_ignore_ascii_case(prefix) && rest.starts_with('/');
                fits.then_some(rest)?
            }
        };
        let functions = self.functions.iter();
        let mut fitting = functions.filter(|(_, config)| config.allows(request.method()));
        fitting.find_map(|(function, config)| Some((function, config.route.matches(path)?)))
    }
}

async fn answer(State(listener): State<Arc<HttpListener>>, request: Request) -> Response {
    tokio::select! {
        () = listener.over.cancelled() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        response = invoke(&listener, request) => response,
    }
}

async fn invoke(listener: &HttpListener, request: Request) -> Response {
    let Some((function, parameters)) = listener.find(&request) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request = HttpRequest {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        parameters,
        body,
    };
    let response = if listener.forwards && function.is_plain_http() {
        listener.dispatcher.forward(function, request).await
    } else {
        let sys = Sys {
            method_name: function.name.clone(),
            utc_now: OffsetDateTime::now_utc(),
            rand_guid: Uuid::new_v4(),
        };
        let body = encode_http(&function.binding, &request, &sys);
        listener.dispatcher.invoke_http(function, body).await
    };
    match response {
        Ok(response) => response.map(Body::from),
        // It has been logged. Without a running host the answer is another one (azure-functions-host
        // `HostAvailabilityCheckMiddleware`).
        Err(InvocationError::HostStopped) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A socket that one host instance leaves to the next.
struct Socket(Arc<TcpListener>);

impl Listener for Socket {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                // Out of file handles, usually; others will be closed.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
