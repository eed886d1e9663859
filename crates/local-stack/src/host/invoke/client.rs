//! The host's HTTP client towards the handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, USER_AGENT,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::response::Answer;
use crate::host::encode::HttpRequest;

const HOST_VERSION: &str = "4.1037.0.0";
const PROBE_INTERVAL: Duration = Duration::from_millis(25);

/// Calls one life of the handler: a new life gets a new client, so that no invocation is lost to a
/// pooled connection that died with the process before.
#[derive(Debug, Clone)]
pub(crate) struct HandlerClient {
    http: reqwest::Client,
    base: String,
}

impl HandlerClient {
    /// A client for the handler at `port`, which `forwards` requests or not.
    pub(crate) fn new(port: u16, forwards: bool) -> Result<Self, Box<dyn std::error::Error>> {
        // Never used, the handler is called over plain HTTP; but the client wants one, and building
        // it here spares the system's certificates and a process-wide default provider.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .no_gzip()
            .http1_only()
            .redirect(match forwards {
                true => reqwest::redirect::Policy::none(),
                false => reqwest::redirect::Policy::default(),
            })
            .build()?;
        Ok(Self {
            http,
            base: format!("http://127.0.0.1:{port}"),
        })
    }

    /// Asks `GET /` every 25 ms until anything at all answers. `false` when `window` is over.
    ///
    /// A probe has no timeout of its own: a handler that accepts and says nothing blocks for ever.
    pub(crate) async fn wait_until_ready(&self, window: Duration) -> bool {
        let began = Instant::now();
        loop {
            match self.http.get(format!("{}/", self.base)).send().await {
                Err(error) if error.is_connect() => {}
                // Any status, and any failure but a refused connection, counts as ready.
                _ => return true,
            }
            if began.elapsed() >= window {
                return false;
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// Sends a request on as it came, at its own path, and reads the whole answer.
    pub(crate) async fn forward(
        &self,
        id: Uuid,
        request: HttpRequest,
    ) -> Result<Response<Bytes>, reqwest::Error> {
        let mut headers = request.headers;
        // About one connection, which is not this one; the client says them itself.
        for name in [HOST, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
            headers.remove(name);
        }
        let version = HeaderValue::from_static(HOST_VERSION);
        headers.insert(
            HeaderName::from_static("x-azure-functions-hostversion"),
            version,
        );
        let response = self
            .http
            .request(request.method, format!("{}{}", self.base, request.uri))
            .headers(headers)
            .header("X-Azure-Functions-InvocationId", id.to_string())
            .body(request.body)
            .send()
            .await?;
        let status = response.status();
        let mut headers = response.headers().clone();
        for name in [CONNECTION, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let mut answer = Response::new(response.bytes().await?);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Posts an invocation, in chunks as the host does, and reads the whole answer.
    pub(crate) async fn post(
        &self,
        function: &str,
        id: Uuid,
        body: Bytes,
    ) -> Result<Answer, reqwest::Error> {
        let body = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        let response = self
            .http
            .post(format!("{}/{function}", self.base))
            .header("X-Azure-Functions-InvocationId", id.to_string())
            .header("X-Azure-Functions-HostVersion", HOST_VERSION)
            .header(USER_AGENT, format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(reqwest::Body::wrap_stream(body))
            .send()
            .await?;
        let text = |headers: &HeaderMap, name: HeaderName| {
            let value = headers
                .get(name)
                .and_then(|value: &http::HeaderValue| value.to_str().ok());
            value.map(str::to_owned)
        };
        let status = response.status().as_u16();
        let content_type = text(response.headers(), CONTENT_TYPE);
        let content_length =
            text(response.headers(), CONTENT_LENGTH).and_then(|text| text.parse().ok());
        Ok(Answer {
            status,
            content_type,
            content_length,
            body: response.bytes().await?,
        })
    }
}
