//! The HTTP client of the exporters.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

/// One request to the ingestion may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);
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
        })
    }

    /// For other receivers, which the token is none of the business of.
    pub(crate) fn without_token(&self) -> Self {
        Self {
            wants_token: false,
            ..self.clone()
        }
    }

    pub(crate) fn authenticate(&self, bearer: Arc<dyn Bearer>) {
        // The first one stays: there is one identity.
        let _ = self.bearer.set(bearer);
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        if self.wants_token {
            let bearer = self.bearer.get().ok_or("the app has no identity yet")?;
            let token = format!("Bearer {}", bearer.token().await?);
            let mut token = http::HeaderValue::from_str(&token)?;
            token.set_sensitive(true);
            request.headers_mut().insert("authorization", token);
        }
        let answer = self.http.execute(request).await;
        // Without the address: a sender that logs it says where, not what.
        let answer = answer.map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        let mut response = Response::new(answer.bytes().await?);
        *response.status_mut() = status;
        Ok(response)
    }
}

#[async_trait]
impl HttpClient for Ingestion {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.spawn(self.clone().send(request)).await?
    }
}
