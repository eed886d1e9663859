//! Page sizes and the cookie in `@odata.nextLink`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use uuid::Uuid;

use crate::dataverse::error::ApiError;

/// Largest and default page.
pub(in crate::dataverse) const MAX_PAGE: usize = 5000;

/// The page size of `Prefer: odata.maxpagesize=n`.
pub(in crate::dataverse) fn page_size(headers: &HeaderMap) -> Option<usize> {
    preferences(headers).into_iter().find_map(|preference| {
        let size = preference.strip_prefix("odata.maxpagesize=")?;
        size.parse().ok().map(|size: usize| size.clamp(1, MAX_PAGE))
    })
}

/// The items of all `Prefer` headers; what is quoted stays together.
pub(in crate::dataverse) fn preferences(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all("prefer").into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut items = Vec::new();
    for value in values {
        let (mut quoted, mut start) = (false, 0);
        for (at, c) in value.char_indices() {
            match c {
                '"' => quoted = !quoted,
                ',' | ';' if !quoted => {
                    items.push(value[start..at].trim());
                    start = at + 1;
                }
                _ => {}
            }
        }
        items.push(value[start..].trim());
    }
    items
}

/// Where the next page begins: after the row with these sort values and this id.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dataverse) struct Cookie {
    pub(in crate::dataverse) page: usize,
    pub(in crate::dataverse) id: Uuid,
    pub(in crate::dataverse) sort: Vec<Value>,
}

impl Cookie {
    /// The value of `$skiptoken`, percent-encoded: opaque to callers, in the platform's shape.
    pub(in crate::dataverse) fn encode(&self, tracking: bool) -> String {
        let position = serde_json::json!([self.id, self.sort]).to_string();
        let cookie = format!(
            "<cookie pagenumber=\"{}\" pagingcookie=\"{}\" istracking=\"{}\" />",
            self.page,
            STANDARD.encode(position),
            if tracking { "True" } else { "False" }
        );
        utf8_percent_encode(&cookie, NON_ALPHANUMERIC).to_string()
    }

    pub(in crate::dataverse) fn decode(token: &str) -> Result<Self, ApiError> {
        let attribute = |name: &str| {
            let (_, rest) = token.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let read = || {
            let page = attribute("pagenumber")?.parse().ok()?;
            // A '+' of base64 that came through a query as a space.
            let position = attribute("pagingcookie")?.replace(' ', "+");
            let position = STANDARD.decode(position).ok()?;
            let (id, sort) = serde_json::from_slice(&position).ok()?;
            Some(Self { page, id, sort })
        };
        read().ok_or_else(|| ApiError::bad_request("Invalid skiptoken."))
    }
}
