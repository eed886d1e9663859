//! The HTTP client of the exporters. Nothing else tells that telemetry does not arrive: it says so once, until
//! it arrives again.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use tracing::{info, warn};

/// One request to the ingestion may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);
const INSIGHTS: &str = "Application Insights";
/// For what ingestion wants a token.
pub const SCOPE: &str = "https://monitor.azure.com//.default";

/// Where the token comes from that telemetry is sent with.
#[async_trait]
pub trait Bearer: Send + Sync {
    /// A token for [`SCOPE`].
    ///
    /// # Errors
    /// Why there is none, for a log.
    async fn token(&self) -> Result<String, String>;
}

/// Sends for all exporters. They run on threads of their own, without a runtime; so the requests run on the
/// app's.
#[derive(Clone)]
pub(crate) struct Ingestion {
    http: reqwest::Client,
    runtime: Handle,
    bearer: Arc<OnceLock<Arc<dyn Bearer>>>,
    wants_token: bool,
    receiver: &'static str,
    /// Whether the latest request failed.
    failing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Ingestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingestion").finish_non_exhaustive()
    }
}

impl Ingestion {
    pub(crate) fn new(runtime: Handle, wants_token: bool) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self {
            http,
            runtime,
            bearer: Arc::default(),
            wants_token,
            receiver: INSIGHTS,
            failing: Arc::default(),
        })
    }

    /// For another receiver, which the token is none of the business of.
    pub(crate) fn for_otlp(&self) -> Self {
        Self {
            wants_token: false,
            receiver: "the OTLP receiver",
            failing: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn authenticate(&self, bearer: Arc<dyn Bearer>) {
        // The first one stays: there is one identity.
        let _ = self.bearer.set(bearer);
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if self.wants_token && self.bearer.get().is_none() {
            // Tried again by the exporter; the app has only just started.
            return Err("the app has no identity yet".into());
        }
        let answer = self.exchange(request).await;
        let problem = match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(self.refused(response.status())),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        let receiver = self.receiver;
        match problem {
            Some(problem) if !failed_before => {
                warn!(receiver, "telemetry does not reach {receiver}: {problem}");
            }
            None if failed_before => info!(receiver, "telemetry reaches {receiver} again"),
            _ => {}
        }
        answer
    }

    fn is_insights(&self) -> bool {
        self.receiver == INSIGHTS
    }

    fn refused(&self, status: StatusCode) -> String {
        let repair = match status.as_u16() {
            401 | 403 if self.wants_token => {
                "; give the app's identity the role Monitoring Metrics Publisher"
            }
            401 | 403 if self.is_insights() => {
                "; set APPLICATIONINSIGHTS_AUTHENTICATION_STRING=Authorization=AAD if it takes identities only"
            }
            401 | 403 => "; check OTEL_EXPORTER_OTLP_HEADERS",
            400 | 404 if self.is_insights() => "; check APPLICATIONINSIGHTS_CONNECTION_STRING",
            402 | 439 => "; its daily cap or quota is used up",
            _ => "",
        };
        format!("it answers {status}{repair}")
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        if self.wants_token
            && let Some(bearer) = self.bearer.get()
        {
            let token = format!("Bearer {}", bearer.token().await?);
            let mut token = http::HeaderValue::from_str(&token)?;
            token.set_sensitive(true);
            request.headers_mut().insert("authorization", token);
        }
        let answer = self.http.execute(request).await;
        // Without the address: a sender that logs it says where, not what.
        let answer = answer.map_err(|e| causes(&e.without_url()))?;
        let status = answer.status();
        let mut response = Response::new(answer.bytes().await?);
        *response.status_mut() = status;
        Ok(response)
    }
}

/// An error with what is behind it, of which the client's own text says nothing.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[async_trait]
impl HttpClient for Ingestion {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.spawn(self.clone().send(request)).await?
    }
}
