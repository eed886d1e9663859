//! One HTTP client for one environment: headers, token, deadline, and answers turned into failures.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::answer::{ServiceError, classify};
use crate::credentials::TokenSource;
use crate::failure::{Failure, Stage};

/// A condition on the row a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition<'a> {
    /// The row exists. Without it a PATCH would create the row.
    Exists,
    /// The row is still as it was at this etag.
    Unchanged(&'a str),
}

/// The Web API of one environment.
///
/// It keeps no cookies: the affinity cookie would tie all requests to one web server and its limits.
#[derive(Clone)]
pub struct DataverseClient {
    http: reqwest::Client,
    base: Url,
    scope: String,
    tokens: Arc<dyn TokenSource>,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) body: Bytes,
}

impl Good {
    pub(super) fn json(&self, stage: Stage, asked: &str) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let text = format!("Dataverse answered {asked} with something that is not JSON.");
            Failure::transient(stage, "DataverseBadAnswer", text)
        })
    }
}

impl DataverseClient {
    /// A client for the environment at `url`, e.g. `https://contoso.crm4.dynamics.com`. One attempt of
    /// one request may take `timeout`.
    ///
    /// # Errors
    /// When the TLS set-up of this machine cannot be used.
    pub fn new(
        url: &Url,
        tokens: Arc<dyn TokenSource>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(Duration::from_secs(5).min(timeout))
            .user_agent(concat!("dataverse-sync/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let mut base = url.clone();
        base.set_path("/api/data/v9.2/");
        let scope = format!("{}/.default", url.as_str().trim_end_matches('/'));
        Ok(Self {
            http,
            base,
            scope,
            tokens,
        })
    }

    /// One request. `path` is relative to the API's root and already encoded. The inner result holds
    /// Dataverse's own refusal, which the caller may know how to read.
    pub(super) async fn call(
        &self,
        stage: Stage,
        method: Method,
        path: &str,
        precondition: Option<Precondition<'_>>,
        body: Option<&Value>,
        correlation: &str,
    ) -> Result<Result<Good, ServiceError>, Failure> {
        let answer = self
            .send(stage, &method, path, precondition, body, correlation)
            .await?;
        if !matches!(&answer, Err(e) if e.status == 401) {
            return Ok(answer);
        }
        // Once: the token may have been revoked or the secret rotated ahead of its expiry.
        self.tokens.forget(&self.scope);
        self.send(stage, &method, path, precondition, body, correlation)
            .await
    }

    async fn send(
        &self,
        stage: Stage,
        method: &Method,
        path: &str,
        precondition: Option<Precondition<'_>>,
        body: Option<&Value>,
        correlation: &str,
    ) -> Result<Result<Good, ServiceError>, Failure> {
        let asked = asked(method, path);
        let token = self.tokens.token(&self.scope).await?;
        let url = self.base.join(path).map_err(|_| {
            Failure::config(
                stage,
                "DataverseBadUrl",
                format!("{asked} is not an address."),
            )
        })?;
        let mut request = self
            .http
            .request(method.clone(), url)
            .bearer_auth(token.secret())
            .header("accept", "application/json")
            .header("odata-maxversion", "4.0")
            .header("odata-version", "4.0")
            // Stops cached $expand results; the literal word is meant.
            .header("if-none-match", "null")
            .header("x-ms-client-request-id", Uuid::new_v4().to_string())
            .header("x-ms-correlation-id", correlation);
        match precondition {
            Some(Precondition::Exists) => request = request.header("if-match", "*"),
            Some(Precondition::Unchanged(etag)) => request = request.header("if-match", etag),
            None => {}
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let lost = |e: reqwest::Error| {
            let what = if e.is_timeout() {
                "did not answer in time"
            } else if e.is_connect() {
                "cannot be reached"
            } else {
                "broke the connection off"
            };
            let text = format!("Dataverse {what} ({asked}).");
            Failure::transient(stage, "DataverseUnreachable", text)
        };
        let response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(lost)?;
        if status.is_success() {
            return Ok(Ok(Good { body }));
        }
        let retry_after = headers.get("retry-after").and_then(|v| v.to_str().ok());
        let ids = request_ids(&headers);
        Ok(Err(ServiceError::read(
            status.as_u16(),
            retry_after,
            ids,
            &body,
        )))
    }

    /// [`Self::call`] where any refusal is a failure.
    pub(super) async fn expect(
        &self,
        stage: Stage,
        method: Method,
        path: &str,
        correlation: &str,
    ) -> Result<Good, Failure> {
        let asked = asked(&method, path);
        let answer = self
            .call(stage, method, path, None, None, correlation)
            .await?;
        answer.map_err(|e| classify(&e, stage, &asked))
    }
}

/// Names a request without its query: a filter may hold a row value.
pub(super) fn asked(method: &Method, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or_default())
}

fn request_ids(headers: &HeaderMap) -> Vec<String> {
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
