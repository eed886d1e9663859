//! One call over HTTP: built, sent, its answer read as far as it may be long.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

use super::auth::Credential;
use crate::config::TargetConfig;
use crate::failure::{Failure, Stage};
use crate::ports::Delivery;
use crate::retry_after;
use crate::trace;

/// From what clients are built.
#[derive(Clone)]
pub(super) struct ClientSetup {
    pub(super) timeout: Duration,
    /// Authorities that are trusted beside the system's own.
    pub(super) roots: Vec<reqwest::Certificate>,
}

impl ClientSetup {
    pub(super) fn builder(&self) -> reqwest::ClientBuilder {
        // A proxy comes from HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which reqwest reads by itself.
        reqwest::Client::builder()
            .timeout(self.timeout)
            .connect_timeout(Duration::from_secs(5).min(self.timeout))
            // A redirected PUT would arrive as a GET, and the secret at a host nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dataverse-sync/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(self.roots.iter().cloned())
    }
}

/// A call to be made.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Path and query below the target's URL.
    pub(super) path: String,
    /// What telemetry calls it: the same for all rows.
    pub(super) route: String,
    pub(super) body: Option<&'a Value>,
    /// `None` for calls that change nothing.
    pub(super) idempotency_key: Option<String>,
    pub(super) delivery: &'a Delivery,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    Json(Value),
    /// None, or not JSON.
    Other,
    /// Longer than it may be.
    TooLong,
}

impl Body {
    pub(super) fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Other | Self::TooLong => None,
        }
    }
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The target's side ended the handshake over the client's certificate, or its absence.
    CertificateRefused,
    /// The connection broke before an answer came, for whatever reason.
    BrokenOff(Failure),
    Failed(Failure),
}

impl Request<'_> {
    pub(super) async fn send(
        &self,
        base: &Url,
        config: &TargetConfig,
        credential: &Credential,
    ) -> Result<Answer, NoAnswer> {
        let host = base.host_str().unwrap_or_default();
        let name = format!("{} {}", self.method, self.route);
        let span = trace::call("target", &name, self.method.as_str(), host);
        let answer = self.exchange(base, config, credential).await;
        match &answer {
            Ok(answer) => {
                let good = answer.status < 400 || matches!(answer.status, 404 | 409 | 410);
                trace::answered(&span, answer.status, good);
            }
            Err(NoAnswer::CertificateRefused) => {
                trace::ended(&span, Err("client certificate refused"));
            }
            Err(NoAnswer::BrokenOff(failure) | NoAnswer::Failed(failure)) => {
                trace::ended(&span, Err(failure.code));
            }
        }
        answer
    }

    async fn exchange(
        &self,
        base: &Url,
        config: &TargetConfig,
        credential: &Credential,
    ) -> Result<Answer, NoAnswer> {
        let lost = |e: reqwest::Error| self.lost(&e, config.timeout);
        let request = credential
            .http
            .request(self.method.clone(), below(base, &self.path));
        let request = request.headers(config.constant_headers.clone());
        let mut request = match self.body {
            Some(body) => request.json(body),
            None => request,
        };
        for (name, value) in self.headers(config) {
            request = request.header(name, value);
        }
        if let Some((name, value)) = &credential.header {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(http::header::RETRY_AFTER)
            .and_then(|v| retry_after::read(v.to_str().ok()?, OffsetDateTime::now_utc()));
        let mut bytes = Vec::new();
        // Unpacked, if it came compressed: what counts is what would have to be held.
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if bytes.len() + chunk.len() > config.max_response_bytes {
                return Ok(Answer {
                    status,
                    retry_after,
                    body: Body::TooLong,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        let body = serde_json::from_slice(&bytes).map_or(Body::Other, Body::Json);
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }

    fn headers<'a>(
        &self,
        config: &'a TargetConfig,
    ) -> impl Iterator<Item = (&'a HeaderName, HeaderValue)> {
        let names = &config.headers;
        let delivery = self.delivery;
        let all = [
            (&names.idempotency_key, self.idempotency_key.clone()),
            (&names.version, delivery.version.map(|v| v.to_string())),
            (&names.correlation_id, Some(delivery.correlation_id.clone())),
        ];
        all.into_iter().filter_map(|(name, value)| {
            let value = HeaderValue::from_str(&value?);
            // Keys and versions always fit; a correlation id that does not is not worth the row.
            Some((name.as_ref()?, value.ok()?))
        })
    }

    fn lost(&self, e: &reqwest::Error, timeout: Duration) -> NoAnswer {
        let row = &self.delivery.row;
        if e.is_builder() {
            let text = format!("The call for {row} cannot be written as HTTP.");
            let failure = Failure::permanent(Stage::Deliver, "UnsendableCall", text);
            return NoAnswer::Failed(failure);
        }
        if is_about_our_certificate(e) {
            return NoAnswer::CertificateRefused;
        }
        let unreachable = |what: &str| {
            let text = format!("The target {what}.");
            Failure::transient(Stage::Deliver, "TargetUnreachable", text)
        };
        if e.is_timeout() {
            let what = format!("did not answer for {row} within {timeout:?}");
            let failure = unreachable(&what);
            // Nothing of a call is sent before there is a connection.
            NoAnswer::Failed(match e.is_connect() {
                true => failure,
                false => failure.lingering(timeout),
            })
        } else if e.is_connect() {
            NoAnswer::Failed(match tls(e) {
                Some(problem) => unreachable(&format!("cannot be reached safely ({problem})")),
                None => unreachable("cannot be reached"),
            })
        } else {
            let what = format!("broke the connection off while taking {row}");
            NoAnswer::BrokenOff(unreachable(&what).lingering(timeout))
        }
    }
}

/// A path with its query below the target's URL.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

/// The TLS error behind a failed call.
#[must_use]
pub fn tls(e: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(e);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error does not name what it wraps as its source.
        let wrapped = error.downcast_ref::<std::io::Error>();
        let wrapped = wrapped.and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Whether the other side ended the handshake because of the certificate it was shown. With TLS 1.3 this
/// comes when the client takes the handshake to be done, and a reset may overtake it; then there is only a
/// broken connection to be seen.
fn is_about_our_certificate(e: &reqwest::Error) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        tls(e),
        Some(rustls::Error::AlertReceived(
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA
                | Alert::AccessDenied
        ))
    )
}
