//! One request to the Web API, as far as the rest of this module decides about it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::identities::Kind;
use crate::failure::{Failure, Stage};

/// A condition on the row a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition<'a> {
    /// The row exists. Without it a PATCH would create the row.
    Exists,
    /// The row is still as it was at this etag.
    Unchanged(&'a str),
}

impl Precondition<'_> {
    /// Value of `If-Match`.
    pub(super) fn if_match(&self) -> &str {
        match self {
            Self::Exists => "*",
            Self::Unchanged(etag) => etag,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    Batch { content_type: String, bytes: Bytes },
}

/// One request. `path` is relative to the API's root and already encoded.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    pub(super) stage: Stage,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) precondition: Option<Precondition<'a>>,
    pub(super) prefer: Option<&'a str>,
    pub(super) body: Body<'a>,
    pub(super) correlation: &'a str,
    pub(super) kind: Kind,
}

impl<'a> Request<'a> {
    pub(super) fn new(stage: Stage, method: Method, path: &'a str, correlation: &'a str) -> Self {
        let kind = if method == Method::GET {
            Kind::Read
        } else {
            Kind::Write
        };
        Self {
            stage,
            method,
            path,
            precondition: None,
            prefer: None,
            body: Body::None,
            correlation,
            kind,
        }
    }

    pub(super) fn get(stage: Stage, path: &'a str, correlation: &'a str) -> Self {
        Self::new(stage, Method::GET, path, correlation)
    }

    pub(super) fn on_condition(mut self, precondition: Precondition<'a>) -> Self {
        self.precondition = Some(precondition);
        self
    }

    pub(super) fn json(mut self, body: &'a Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    /// Names the request as one of its kind: without its query, and without keys.
    pub(super) fn name(&self) -> String {
        let path = self.path.split(['?', '(']).next().unwrap_or_default();
        format!("{} {path}", self.method)
    }

    /// Names the request without its query: a filter may hold a row value.
    pub(super) fn asked(&self) -> String {
        asked(&self.method, self.path)
    }
}

/// Names a request without its query, as [`Request::asked`] does.
pub(super) fn asked(method: &Method, path: &str) -> String {
    format!("{method} {}", path.split('?').next().unwrap_or_default())
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Good {
    pub(super) fn json(&self, stage: Stage, asked: &str) -> Result<Value, Failure> {
        crate::exact::from_slice(&self.body).map_err(|_| bad_answer(stage, asked))
    }
}

/// An answer that is not what the documentation promises. Tried again: a gateway may have answered.
pub(super) fn bad_answer(stage: Stage, asked: &str) -> Failure {
    let text = format!("Dataverse answered {asked} with something other than what was asked for.");
    Failure::transient(stage, "DataverseBadAnswer", text)
}
