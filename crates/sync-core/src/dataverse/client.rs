//! The client of one environment: headers, tokens, deadlines, identities, and answers turned into
//! failures.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use url::Url;
use uuid::Uuid;

use super::answer::ServiceError;
use super::classify::classify;
use super::identities::{Identities, IdentitySnapshot, Lesson, Permit, RequestLimit};
use super::merge::{Merged, Merging, PageTotals};
use super::metadata::Known;
use super::request::{Body, Good, Request};
use crate::credentials::TokenSource;
use crate::failure::{Failure, Stage};
use crate::trace;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct DataverseOptions {
    /// One attempt of one request may take this long.
    pub timeout: Duration,
    /// A request waits this long for an identity that may send it; then it fails as a throttle.
    pub longest_wait: Duration,
    /// Whether concurrent requests for rows of one table become one; `None` sends each on its own.
    pub merging: Option<Merging>,
    /// What one web server takes from one identity, to begin with.
    pub limit: RequestLimit,
    /// Sent with every request.
    pub headers: HeaderMap,
}

impl Default for DataverseOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            longest_wait: Duration::from_secs(10),
            merging: Some(Merging::default()),
            limit: RequestLimit::default(),
            headers: HeaderMap::new(),
        }
    }
}

/// The Web API of one environment.
///
/// It keeps no cookies: the affinity cookie would tie all requests to one web server and its limits.
/// Connections are HTTP/1.1, one request at a time each, so that no single one carries everything to
/// the same server.
#[derive(Clone)]
pub struct DataverseClient {
    inner: Arc<Inner>,
    /// What gathers concurrent requests; works through a client without it.
    pub(super) merged: Option<Merged>,
}

struct Inner {
    base: Url,
    scope: String,
    senders: Vec<Sender>,
    identities: Identities,
    timeout: Duration,
    headers: HeaderMap,
    known: Known,
}

/// One identity and its connections.
struct Sender {
    http: reqwest::Client,
    tokens: Arc<dyn TokenSource>,
}

impl DataverseClient {
    /// A client for the environment at `url`, e.g. `https://contoso.crm4.dynamics.com`, that shares its
    /// requests out among `identities`.
    ///
    /// # Errors
    /// When the TLS set-up of this machine cannot be used.
    pub fn new(
        url: &Url,
        identities: Vec<Arc<dyn TokenSource>>,
        options: DataverseOptions,
    ) -> Result<Self, reqwest::Error> {
        let timeout = options.timeout;
        let senders = identities.into_iter().map(|tokens| {
            let http = reqwest::Client::builder()
                .timeout(timeout)
                .connect_timeout(Duration::from_secs(5).min(timeout))
                .http1_only()
                .user_agent(concat!("dataverse-sync/", env!("CARGO_PKG_VERSION")))
                .build()?;
            Ok(Sender { http, tokens })
        });
        let senders = senders.collect::<Result<Vec<_>, reqwest::Error>>()?;
        let mut base = url.clone();
        base.set_path("/api/data/v9.2/");
        let scope = format!("{}/.default", url.as_str().trim_end_matches('/'));
        let labels = senders.iter().map(|s| s.tokens.label().into()).collect();
        let identities = Identities::new(labels, options.limit, options.longest_wait);
        let plain = Self {
            inner: Arc::new(Inner {
                base,
                scope,
                senders,
                identities,
                timeout,
                headers: options.headers,
                known: Known::default(),
            }),
            merged: None,
        };
        let merged = options.merging.map(|m| Merged::new(plain.clone(), m));
        Ok(Self { merged, ..plain })
    }

    /// How each identity fares, in the order they were given.
    #[must_use]
    pub fn identities(&self) -> Vec<IdentitySnapshot> {
        self.inner.identities.snapshots()
    }

    /// What was merged so far; all zeros without merging.
    #[must_use]
    pub fn page_totals(&self) -> PageTotals {
        self.merged.as_ref().map(Merged::totals).unwrap_or_default()
    }

    /// Until a throttle changed what an identity may do.
    pub(super) async fn identities_changed(&self) {
        self.inner.identities.changed().await;
    }

    /// One attempt of one request may take this long.
    pub(super) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// Names of tables that were looked up.
    pub(super) fn known(&self) -> &Known {
        &self.inner.known
    }

    /// The API's root, e.g. `/api/data/v9.2/`.
    pub(super) fn root(&self) -> &str {
        self.inner.base.path()
    }

    /// Waits for the right to send `request`.
    pub(super) async fn admit(&self, request: &Request<'_>) -> Result<Permit, Failure> {
        let identities = &self.inner.identities;
        identities.admit(request.kind, request.stage).await
    }

    /// One request. The inner result holds Dataverse's own refusal, which the caller may know how to
    /// read.
    pub(super) async fn call(
        &self,
        request: Request<'_>,
    ) -> Result<Result<Good, ServiceError>, Failure> {
        let permit = self.admit(&request).await?;
        let (answer, permit) = self.send_with(permit, &request).await?;
        permit.end(lesson(&answer));
        Ok(answer)
    }

    /// [`Self::call`] where any refusal is a failure.
    pub(super) async fn expect(&self, request: Request<'_>) -> Result<Good, Failure> {
        let (stage, asked) = (request.stage, request.asked());
        let answer = self.call(request).await?;
        answer.map_err(|e| classify(&e, stage, &asked))
    }

    /// Sends with a permit in hand; what the permit is to learn is left to the caller, who may know the
    /// answer's insides.
    pub(super) async fn send_with(
        &self,
        permit: Permit,
        request: &Request<'_>,
    ) -> Result<(Result<Good, ServiceError>, Permit), Failure> {
        let Some(sender) = self.inner.senders.get(permit.identity()) else {
            let text = "No identity is set up for Dataverse.";
            return Err(Failure::config(request.stage, "DataverseNoIdentity", text));
        };
        let mut answer = self.send(sender, request).await?;
        if matches!(&answer, Err(e) if e.status == 401) {
            // Once: the token may have been revoked or the secret rotated ahead of its expiry.
            sender.tokens.forget(&self.inner.scope);
            answer = self.send(sender, request).await?;
        }
        Ok((answer, permit))
    }

    async fn send(
        &self,
        sender: &Sender,
        request: &Request<'_>,
    ) -> Result<Result<Good, ServiceError>, Failure> {
        let host = self.inner.base.host_str().unwrap_or_default();
        let span = trace::call("Dataverse", &request.name(), request.method.as_str(), host);
        let answer = self.exchange(sender, request).await;
        match &answer {
            Ok(Ok(_)) => trace::answered(&span, 200, true),
            // What is not there, or was changed meanwhile, is an answer.
            Ok(Err(e)) => trace::answered(&span, e.status, matches!(e.status, 404 | 412)),
            Err(failure) => trace::ended(&span, Err(failure.code)),
        }
        answer
    }

    async fn exchange(
        &self,
        sender: &Sender,
        request: &Request<'_>,
    ) -> Result<Result<Good, ServiceError>, Failure> {
        let stage = request.stage;
        let token = sender.tokens.token(&self.inner.scope).await?;
        let url = self.inner.base.join(request.path).map_err(|_| {
            let text = format!("{} is not an address.", request.asked());
            Failure::config(stage, "DataverseBadUrl", text)
        })?;
        let mut http = sender
            .http
            .request(request.method.clone(), url)
            .headers(self.inner.headers.clone())
            .bearer_auth(token.secret())
            .header("accept", "application/json")
            .header("odata-maxversion", "4.0")
            .header("odata-version", "4.0")
            .header("x-ms-client-request-id", Uuid::new_v4().to_string())
            .header("x-ms-correlation-id", request.correlation);
        if request.method == Method::GET {
            // Stops cached $expand results; the literal word is meant.
            http = http.header("if-none-match", "null");
        }
        if let Some(condition) = &request.precondition {
            http = http.header("if-match", condition.if_match());
        }
        if let Some(prefer) = request.prefer {
            http = http.header("prefer", prefer);
        }
        http = match &request.body {
            Body::None => http,
            Body::Json(json) => http.json(json),
            Body::Batch {
                content_type,
                bytes,
            } => http
                .header("content-type", content_type)
                .body(bytes.clone()),
        };
        let lost = |e: reqwest::Error| lost(&e, stage, &request.asked());
        let response = http.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(lost)?;
        // A batch that stopped at its first failure answers with that failure's status, in parts.
        let parts = matches!(&request.body, Body::Batch { .. }) && is_multipart(&headers);
        if status.is_success() || (parts && status != StatusCode::TOO_MANY_REQUESTS) {
            return Ok(Ok(Good { headers, body }));
        }
        let retry_after = headers.get("retry-after").and_then(|v| v.to_str().ok());
        let ids = request_ids(&headers);
        let error = ServiceError::read(status.as_u16(), retry_after, ids, &body);
        Ok(Err(error))
    }
}

/// What a whole answer teaches.
pub(super) fn lesson(answer: &Result<Good, ServiceError>) -> Lesson {
    match answer {
        Ok(good) => Lesson::Served {
            hint: hint(&good.headers),
        },
        Err(e) => match e.throttle() {
            Some((limit, retry_after)) => Lesson::Throttled { limit, retry_after },
            None => Lesson::Served { hint: None },
        },
    }
}

/// The parallelism the server recommends (`x-ms-dop-hint`).
fn hint(headers: &HeaderMap) -> Option<u32> {
    let hint = headers.get("x-ms-dop-hint")?.to_str().ok()?;
    hint.trim().parse().ok().filter(|hint| *hint > 0)
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|v| v.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("multipart/"))
}

fn lost(e: &reqwest::Error, stage: Stage, asked: &str) -> Failure {
    let what = if e.is_timeout() {
        "did not answer in time"
    } else if e.is_connect() {
        "cannot be reached"
    } else {
        "broke the connection off"
    };
    let text = format!("Dataverse {what} ({asked}).");
    Failure::transient(stage, "DataverseUnreachable", text)
}

pub(super) fn request_ids(headers: &HeaderMap) -> Vec<String> {
    let mut ids: Vec<String> = ["x-ms-service-request-id", "req_id"]
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .filter_map(|v| v.to_str().ok())
        .filter(|v| v.len() <= 64)
        .map(str::to_owned)
        .collect();
    ids.dedup();
    ids
}
