//! Requests and answers apart from HTTP, so that a batch can hold them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};

use crate::dataverse::error::ApiError;

/// One operation: a request of its own, or a part of a batch.
#[derive(Debug, Clone)]
pub(super) struct ApiRequest {
    pub(super) method: Method,
    /// Below the service root, percent-encoded, without the query.
    pub(super) path: String,
    /// Percent-encoded.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl ApiRequest {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Path and query below the service root, percent-encoded.
    pub(super) fn relative_url(&self) -> String {
        match self.query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, self.query),
        }
    }

    pub(super) fn url_length(&self) -> usize {
        self.path.len() + self.query.len()
    }

    /// The body as a JSON object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, ApiError> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(ApiError::payload("", "The body must be a JSON object.")),
        }
    }

    /// `Prefer: return=representation`.
    pub(super) fn wants_representation(&self) -> bool {
        let preferences = crate::dataverse::odata::paging::preferences(&self.headers);
        preferences.contains(&"return=representation")
    }
}

/// The answer to one operation, without what every HTTP answer carries.
#[derive(Debug, Clone)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) const JSON: &str = "application/json; odata.metadata=minimal";

impl ApiResponse {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::empty(status).with_body(JSON, body.to_string())
    }

    pub(super) fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.with(header::CONTENT_TYPE, content_type)
    }

    /// Adds a header; a value HTTP cannot carry is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// 204 for a written row, with the URL it is read at.
    pub(super) fn written(entity_url: &str) -> Self {
        let name = HeaderName::from_static("odata-entityid");
        Self::empty(StatusCode::NO_CONTENT).with(name, entity_url)
    }
}
