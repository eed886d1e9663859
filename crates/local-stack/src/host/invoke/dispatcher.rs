//! Sends invocations to whichever life of the handler is ready, and times them out.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::HandlerClient;
use super::http_output;
use super::outputs::{Outputs, with_return_value};
use super::response::Meaning;
use crate::host::config::{FunctionConfig, HostJson};
use crate::host::encode::{HttpRequest, Retry};
use crate::host::process::{Command, HandlerState, HandlerStats, LineLevel, Log};

/// How long a function that ran into its timeout may still finish before the handler is killed.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);

/// How many invocations there were. A retry policy's attempts count each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Invocations {
    /// Begun so far.
    pub started: u64,
    /// Ended with success.
    pub succeeded: u64,
    /// Ended with failure.
    pub failed: u64,
}

impl Invocations {
    /// Running now.
    pub fn in_flight(&self) -> u64 {
        self.started - self.succeeded - self.failed
    }

    /// Both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            started: self.started + other.started,
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
        }
    }
}

/// Invocations by function.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<BTreeMap<String, Invocations>>>);

impl Counters {
    fn update(&self, function: &str, change: impl FnOnce(&mut Invocations)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(function.to_owned()).or_default());
    }

    pub(crate) fn by_function(&self) -> BTreeMap<String, Invocations> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvocationError {
    #[error("{0}")]
    Answer(String),
    #[error("the handler cannot be reached: {0}")]
    Unreachable(String),
    #[error("Timeout value of {0:?} exceeded")]
    TimedOut(Duration),
    #[error("the host has stopped")]
    HostStopped,
}

/// Runs invocations against the handler.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    pub(crate) state: watch::Receiver<HandlerState>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) stats: Arc<HandlerStats>,
    /// Told why, when the host must stop.
    pub(crate) fatal: mpsc::UnboundedSender<String>,
    pub(crate) host: HostJson,
    pub(crate) outputs: Outputs,
    pub(crate) counters: Counters,
    pub(crate) log: Log,
    /// Cancelled when the host stops, which ends the waits between the attempts of a retry policy.
    pub(crate) stopping: CancellationToken,
}

impl Dispatcher {
    /// Counts an invocation that failed before it reached the handler.
    pub(crate) fn refuse(&self, function: &FunctionConfig, reason: &str) {
        let name = &function.name;
        self.counters.update(name, |counts| {
            counts.started += 1;
            counts.failed += 1;
        });
        let text = format!("Executed 'Functions.{name}' (Failed): {reason}");
        self.log.host(LineLevel::Error, text);
    }

    /// Runs one invocation, and its retries if the function has a policy. They share the id.
    pub(crate) async fn invoke(
        &self,
        function: &FunctionConfig,
        encode: impl Fn(Option<Retry>) -> Vec<u8>,
    ) -> Result<(), InvocationError> {
        let id = Uuid::new_v4();
        let Some(policy) = &function.retry else {
            let call = self.call(function, id, encode(None).into());
            return self.attempt(function, id, call).await.map(drop);
        };
        let mut retry = Retry {
            retry_count: 0,
            max_retry_count: policy.max_retry_count,
            failure: None,
        };
        let mut delay = policy.first_delay;
        loop {
            let call = self.call(function, id, encode(Some(retry.clone())).into());
            let Err(error) = self.attempt(function, id, call).await else {
                return Ok(());
            };
            if policy
                .max_retry_count
                .is_some_and(|max| retry.retry_count >= max)
            {
                return Err(error);
            }
            retry.retry_count += 1;
            retry.failure = Some(format!(
                "Exception while executing function: Functions.{}",
                function.name
            ));
            tokio::select! {
                () = self.stopping.cancelled() => return Err(error),
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(policy.longest_delay);
        }
    }

    /// Runs one invocation for an HTTP request, which no policy retries; the answer to it.
    pub(crate) async fn invoke_http(
        &self,
        function: &FunctionConfig,
        body: Vec<u8>,
    ) -> Result<Response<Bytes>, InvocationError> {
        let id = Uuid::new_v4();
        let answered = async {
            let outputs = self.call(function, id, body.into()).await?;
            let output = function.http_output.as_ref();
            let response = http_output::response(output.and_then(|name| outputs.get(name)));
            response.map_err(InvocationError::Answer)
        };
        self.attempt(function, id, answered).await
    }

    /// Gives an HTTP request to the handler as it came. Whatever it answers is the answer, and a
    /// success.
    pub(crate) async fn forward(
        &self,
        function: &FunctionConfig,
        request: HttpRequest,
    ) -> Result<Response<Bytes>, InvocationError> {
        let id = Uuid::new_v4();
        let forwarded = async {
            let client = self.ready_client().await?;
            let answer = client.forward(id, request).await;
            answer.map_err(|error| InvocationError::Unreachable(with_causes(&error)))
        };
        self.attempt(function, id, forwarded).await
    }

    async fn attempt<T>(
        &self,
        function: &FunctionConfig,
        id: Uuid,
        call: impl Future<Output = Result<T, InvocationError>>,
    ) -> Result<T, InvocationError> {
        let name = &function.name;
        self.counters.update(name, |counts| counts.started += 1);
        let began = Instant::now();
        let text = format!("Executing 'Functions.{name}' (Id={id})");
        self.log.host(LineLevel::Information, text);
        let mut unfinished = Unfinished {
            counters: &self.counters,
            function: name,
            armed: true,
        };
        let result = self.within_timeout(call).await;
        unfinished.armed = false;
        match &result {
            Ok(_) => {
                self.counters.update(name, |counts| counts.succeeded += 1);
                let took = began.elapsed().as_millis();
                let text =
                    format!("Executed 'Functions.{name}' (Succeeded, Id={id}, Duration={took}ms)");
                self.log.host(LineLevel::Information, text);
            }
            Err(error) => {
                self.counters.update(name, |counts| counts.failed += 1);
                let text = format!("Executed 'Functions.{name}' (Failed, Id={id}): {error}");
                self.log.host(LineLevel::Error, text);
            }
        }
        result
    }

    /// A timeout costs every invocation: after the grace the handler is killed.
    async fn within_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, InvocationError>>,
    ) -> Result<T, InvocationError> {
        let Some(limit) = self.host.function_timeout else {
            return call.await;
        };
        let mut call = std::pin::pin!(call);
        if let Ok(result) = tokio::time::timeout(limit, &mut call).await {
            return result;
        }
        let life = self.stats.restarts();
        if tokio::time::timeout(TIMEOUT_GRACE, call).await.is_err() {
            let text =
                "a function timeout: killing and restarting the handler, with all it is doing";
            self.log.host(LineLevel::Error, text);
            let (heard, hearing) = oneshot::channel();
            // Fails only when the whole instance is going away. The wait keeps the message, which
            // comes back at once, from being sent to the process that is to be killed.
            let _ = self.commands.send(Command::Restart { life, heard });
            let _ = hearing.await;
        }
        Err(InvocationError::TimedOut(limit))
    }

    /// Posts an invocation and sends its messages; the values of its outputs.
    async fn call(
        &self,
        function: &FunctionConfig,
        id: Uuid,
        body: Bytes,
    ) -> Result<Map<String, Value>, InvocationError> {
        let client = self.ready_client().await?;
        let answer = client.post(&function.name, id, body).await;
        let answer = answer.map_err(|error| InvocationError::Unreachable(with_causes(&error)))?;
        let result = match answer.meaning() {
            Meaning::Success(result) => result,
            Meaning::Failure(reason) => return Err(InvocationError::Answer(reason)),
            Meaning::NeverCompletes(what) => {
                self.log.host(
                    LineLevel::Error,
                    format!(
                        "THE INVOCATION HANGS: 'Functions.{}' (Id={id}): {what}, which the host never \
                         completes. It waits for the function timeout ({:?}) and then kills the handler. \
                         Always answer with at least {{}}.",
                        function.name, self.host.function_timeout
                    ),
                );
                std::future::pending().await
            }
        };
        for line in &result.logs {
            self.log.function(&function.name, line.clone());
        }
        let values = with_return_value(function, result);
        let sent = self.outputs.send(function, id, &values).await;
        sent.map_err(InvocationError::Answer)?;
        Ok(values)
    }

    /// Waits while the handler starts, up to four times its readiness window.
    async fn ready_client(&self) -> Result<HandlerClient, InvocationError> {
        let mut state = self.state.clone();
        let window = self.host.initialization_timeout * 4;
        let settled = state.wait_for(|state| !matches!(state, HandlerState::Starting));
        let Ok(settled) = tokio::time::timeout(window, settled).await else {
            let _ = self
                .fatal
                .send("Initialization timed out and host is shutting down".to_owned());
            return Err(InvocationError::HostStopped);
        };
        match settled.as_deref() {
            Ok(HandlerState::Ready(client) | HandlerState::Gone(client)) => Ok(client.clone()),
            _ => Err(InvocationError::HostStopped),
        }
    }
}

/// Counts an invocation that is dropped half-way, when the host stops, as failed.
struct Unfinished<'a> {
    counters: &'a Counters,
    function: &'a str,
    armed: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.counters
                .update(self.function, |counts| counts.failed += 1);
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
