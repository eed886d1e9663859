//! `target.headers`, `target.constantHeaders`: what goes with each call.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::finding::Findings;
use super::{TargetAuth, TargetConfig};

/// Names of the headers that go with each call; null: not sent.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct HeadersFile {
    /// Of the header that is the same for the tries of one decision to deliver.
    idempotency_key: Option<String>,
    /// Of the header with the row's version, for targets that refuse older ones.
    version: Option<String>,
    /// Of the header with the correlation id of the change that led to the call.
    correlation_id: Option<String>,
}

impl Default for HeadersFile {
    fn default() -> Self {
        Self {
            idempotency_key: Some("idempotency-key".into()),
            version: Some("x-source-version".into()),
            correlation_id: Some("x-correlation-id".into()),
        }
    }
}

/// Names of the headers that go with each call; `None`: not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetHeaders {
    /// The same for the tries of one decision to deliver.
    pub idempotency_key: Option<HeaderName>,
    /// Version of the row.
    pub version: Option<HeaderName>,
    /// Of the change that led to the call.
    pub correlation_id: Option<HeaderName>,
}

impl HeadersFile {
    pub(super) fn check(&self, findings: &mut Findings<'_>) -> Option<TargetHeaders> {
        let mut check = |given: &Option<String>, key: &str, example: &str| match given {
            Some(text) => name(text, key, example, findings).map(Some),
            None => Some(None),
        };
        let idempotency_key = check(&self.idempotency_key, "idempotencyKey", "idempotency-key");
        let version = check(&self.version, "version", "x-source-version");
        let correlation_id = check(&self.correlation_id, "correlationId", "x-correlation-id");
        Some(TargetHeaders {
            idempotency_key: idempotency_key?,
            version: version?,
            correlation_id: correlation_id?,
        })
    }
}

/// A header's name.
pub(super) fn name(
    text: &str,
    key: &str,
    example: &str,
    findings: &mut Findings<'_>,
) -> Option<HeaderName> {
    let name = text.parse().ok();
    let name = name.filter(|name: &HeaderName| !is_ours(name));
    if name.is_none() {
        let text = format!("is {text:?}, which is no header to set, e.g. {example:?}");
        findings.add(key, text);
    }
    name
}

/// What HTTP itself, or the body's form, decides.
fn is_ours(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING].contains(name)
}

pub(super) fn constants(
    headers: &BTreeMap<String, String>,
    findings: &mut Findings<'_>,
) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for (key, value) in headers {
        let name = key.parse().ok().filter(|name: &HeaderName| !is_ours(name));
        match (name, HeaderValue::from_str(value)) {
            (Some(name), Ok(value)) => {
                map.append(name, value);
            }
            (None, _) => findings.add(key, "is no header to set, e.g. \"x-tenant\""),
            // Not repeated: whoever puts a secret here by mistake should not find it in a log.
            (_, Err(_)) => findings.add(key, "has a value that no header may have"),
        }
    }
    (map.len() == headers.len()).then_some(map)
}

/// Two values of one header would be sent side by side.
pub(super) fn check_unique(config: &TargetConfig, findings: &mut Findings<'_>) {
    let own = match &config.auth {
        TargetAuth::ApiKey { header } => Some(header),
        TargetAuth::Bearer | TargetAuth::Basic { .. } | TargetAuth::OAuth2(_) => {
            Some(&AUTHORIZATION)
        }
        TargetAuth::ClientCertificate => None,
    };
    let headers = &config.headers;
    let named = [
        &headers.idempotency_key,
        &headers.version,
        &headers.correlation_id,
    ];
    let named = named.into_iter().flatten();
    // Its keys, once for each value.
    let constants = config.constant_headers.iter().map(|(name, _)| name);
    let mut all: Vec<&str> = own
        .into_iter()
        .chain(named)
        .chain(constants)
        .map(HeaderName::as_str)
        .collect();
    all.sort_unstable();
    for pair in all.windows(2).filter(|pair| pair[0] == pair[1]) {
        findings.note(format!(
            "sends the header {} twice: of auth, headers and constantHeaders, let one name it",
            pair[0]
        ));
    }
}
