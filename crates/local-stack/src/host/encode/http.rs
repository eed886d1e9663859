//! The invocation of an HTTP trigger whose request is not forwarded as it is.
//!
//! Source: azure-functions-host `HttpRequestExtensions`, azure-webjobs-sdk-extensions
//! `HttpTriggerAttributeBindingProvider`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use http::{Method, Uri};
use serde_json::{Map, Value, json};

use super::value::{BindingData, NetValue};
use super::{Sys, envelope};
use crate::host::config::Parameters;

/// A request, and what the route made of its path.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) parameters: Parameters,
    pub(crate) body: Bytes,
}

/// Encodes a request. Nobody is signed in: a host on a developer's machine does not look at keys.
pub(crate) fn encode_http(binding: &str, request: &HttpRequest, sys: &Sys) -> Vec<u8> {
    let query = request.query();
    let headers = request.headers();
    let texts = |pairs: &[(String, String)]| -> Map<String, Value> {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, Value::from(value)))
            .collect()
    };
    let lists = headers
        .iter()
        .map(|(name, values)| (name.clone(), json!(values)));
    let mut data = json!({
        "Url": request.url(),
        "Method": request.method.as_str(),
        "Query": texts(&query),
        "Headers": lists.collect::<Map<_, _>>(),
        "Params": texts(&request.parameters),
        "Identities": [{
            "AuthenticationType": null,
            "IsAuthenticated": false,
            "Actor": null,
            "BootstrapContext": null,
            "Claims": [],
            "Label": null,
            "Name": null,
            "NameClaimType": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
            "RoleClaimType": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
        }],
    });
    if let Some(body) = request.text() {
        data["Body"] = Value::from(body);
    }
    let mut metadata = BindingData::default();
    for (name, value) in query.iter().chain(&request.parameters) {
        metadata.set(name, NetValue::Text(value.clone()));
    }
    metadata.set("Query", NetValue::Object(texts(&query)));
    let joined = headers
        .into_iter()
        .map(|(name, values)| (name, Value::from(values.join(", "))));
    metadata.set("Headers", NetValue::Object(joined.collect()));
    metadata.add("sys", sys.value());
    envelope(binding, data, metadata)
}

impl HttpRequest {
    fn url(&self) -> String {
        let host = self.headers.get(HOST).and_then(|host| host.to_str().ok());
        format!("http://{}{}", host.unwrap_or("localhost"), self.uri)
    }

    /// Repeated keys are one, their values joined.
    fn query(&self) -> Vec<(String, String)> {
        let mut query: Vec<(String, String)> = Vec::new();
        let pairs = self.uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(pairs.as_bytes()) {
            match query.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => {
                    values.push(',');
                    values.push_str(&value);
                }
                None => query.push((name.into_owned(), value.into_owned())),
            }
        }
        query
    }

    fn headers(&self) -> Vec<(String, Vec<String>)> {
        let names = self.headers.keys();
        names
            .map(|name| {
                let values = self.headers.get_all(name).iter();
                let values =
                    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                (spelt(name), values.collect())
            })
            .collect()
    }

    fn text(&self) -> Option<String> {
        if self.body.is_empty() {
            return None;
        }
        let kind = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let is_binary =
            kind.starts_with("application/octet-stream") || kind.starts_with("multipart/");
        Some(match is_binary {
            true => BASE64_STANDARD.encode(&self.body),
            false => String::from_utf8_lossy(&self.body).into_owned(),
        })
    }
}

/// A name as ASP.NET spells the ones it knows, whose spelling on the wire is lost here as there.
fn spelt(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use time::macros::datetime;
    use uuid::uuid;

    use super::*;

    fn sys() -> Sys {
        Sys {
            method_name: "Orders".to_owned(),
            utc_now: datetime!(2026-03-02 09:15:31.4567891 UTC),
            rand_guid: uuid!("24ad4c06-24ad-4e5b-8294-3da9714877e9"),
        }
    }

    fn request(uri: &'static str, kind: &'static str, body: &'static [u8]) -> HttpRequest {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(kind)),
            (HOST, HeaderValue::from_static("localhost:7071")),
        ];
        HttpRequest {
            method: Method::POST,
            uri: Uri::from_static(uri),
            headers: headers.into_iter().collect(),
            parameters: vec![("id".to_owned(), "7".to_owned())],
            body: Bytes::from_static(body),
        }
    }

    fn encoded(request: &HttpRequest) -> Value {
        serde_json::from_slice(&encode_http("req", request, &sys())).unwrap()
    }

    #[test]
    fn a_request_is_encoded_as_in_golden_g7() {
        let request = request("/api/orders/7?dry=1", "application/json", b"{\"a\":1}");
        let golden = include_str!("../../../../custom-handler/tests/golden/g7-http.json");
        assert_eq!(
            encoded(&request),
            serde_json::from_str::<Value>(golden).unwrap()
        );
    }

    #[test]
    fn bytes_are_base64_no_content_is_no_body_and_repeated_keys_are_one() {
        let request = request(
            "/api/orders/7?a=1&a=2&b=%20",
            "application/octet-stream",
            &[0, 255],
        );
        let data = encoded(&request);
        assert_eq!(data["Data"]["req"]["Body"], "AP8=");
        assert_eq!(data["Data"]["req"]["Query"], json!({"a": "1,2", "b": " "}));
        assert_eq!(data["Metadata"]["a"], "\"1,2\"");
        let empty = HttpRequest {
            body: Bytes::new(),
            ..request
        };
        assert_eq!(encoded(&empty)["Data"]["req"].get("Body"), None);
    }
}
