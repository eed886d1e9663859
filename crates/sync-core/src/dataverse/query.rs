//! Reads beyond the passes': by alternate key, with expanded lookups, and page by page.
//!
//! Wire format: Power Apps docs, "Retrieve a table row using the Web API", "Page results".

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::classify::classify;
use super::client::DataverseClient;
use super::request::{Request, asked, bad_answer};
use crate::failure::{Failure, Stage};

/// Columns of a row, as the Web API returns them. A column that is null is there as null; one that is
/// absent was not asked for, or may not be read.
pub type Columns = Map<String, Value>;

/// Which columns to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Select<'a> {
    /// Columns of the row itself, e.g. `name`, `_primarycontactid_value`.
    pub columns: &'a [&'a str],
    /// Single-valued navigation properties, each with columns of the row it leads to, e.g.
    /// `primarycontactid` with `fullname`. Their names are case-sensitive.
    pub expand: &'a [(&'a str, &'a [&'a str])],
}

impl Select<'_> {
    /// As it stands in an address: `$select=…&$expand=…`.
    #[must_use]
    pub fn options(&self) -> String {
        let mut options = format!("$select={}", self.columns.join(","));
        let expanded: Vec<String> = self
            .expand
            .iter()
            .map(|(name, columns)| format!("{name}($select={})", columns.join(",")))
            .collect();
        if !expanded.is_empty() {
            options.push_str("&$expand=");
            options.push_str(&expanded.join(","));
        }
        options
    }
}

/// Which row.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// By its id.
    Id(Uuid),
    /// By the text columns of an alternate key that is active.
    Alternate(&'a [(&'a str, &'a str)]),
}

impl Key<'_> {
    /// As it stands between the brackets of an address.
    fn encoded(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Alternate(parts) => {
                let part = |(column, value): &(&str, &str)| {
                    let doubled = value.replace('\'', "''");
                    format!(
                        "{column}='{}'",
                        utf8_percent_encode(&doubled, NON_ALPHANUMERIC)
                    )
                };
                parts.iter().map(part).collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Pages of a collection, read one after the other.
#[derive(Clone)]
pub struct RowPages {
    client: DataverseClient,
    /// Relative to the API's root; `None` after the last page.
    next: Option<String>,
    prefer: String,
    correlation: String,
}

impl DataverseClient {
    /// One row; `None` when there is none with this key.
    ///
    /// # Errors
    /// Any other refusal, and no answer.
    pub async fn fetch(
        &self,
        entity_set: &str,
        key: Key<'_>,
        select: Select<'_>,
        correlation: &str,
    ) -> Result<Option<Columns>, Failure> {
        let path = format!("{entity_set}({})?{}", key.encoded(), select.options());
        let request = Request::get(Stage::Fetch, &path, correlation);
        // The key's values are a row's.
        let asked = format!("GET {entity_set}");
        match self.call(request).await? {
            Ok(good) => match good.json(Stage::Fetch, &asked)? {
                Value::Object(columns) => Ok(Some(columns)),
                _ => Err(bad_answer(Stage::Fetch, &asked)),
            },
            Err(e) if e.is_row_gone() => Ok(None),
            Err(e) => Err(classify(&e, Stage::Fetch, &asked)),
        }
    }

    /// The rows of a table that `filter` (OData, not encoded; empty for all) lets through, `page_size`
    /// at a time (at most 5,000).
    #[must_use]
    pub fn pages(
        &self,
        entity_set: &str,
        select: Select<'_>,
        filter: &str,
        page_size: u32,
        correlation: &str,
    ) -> RowPages {
        let mut path = format!("{entity_set}?{}", select.options());
        if !filter.is_empty() {
            let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
            path.push_str(&format!("&$filter={filter}"));
        }
        RowPages {
            client: self.clone(),
            next: Some(path),
            prefer: format!("odata.maxpagesize={page_size}"),
            correlation: correlation.to_owned(),
        }
    }

    /// What a link of an answer adds to the API's root. Its host is not followed: an environment has
    /// several names, and the token is for the one that was asked.
    pub(super) fn below_root(&self, link: &str) -> Option<String> {
        link.split_once(self.root())
            .map(|(_, path)| path.to_owned())
    }
}

impl RowPages {
    /// The next page; `None` after the last one. After an error the same page is asked for again.
    ///
    /// # Errors
    /// A refusal, or no answer.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Columns>>, Failure> {
        let Some(path) = self.next.clone() else {
            return Ok(None);
        };
        let request = Request {
            prefer: Some(&self.prefer),
            ..Request::get(Stage::Fetch, &path, &self.correlation)
        };
        let asked = asked(&Method::GET, &path);
        let good = self.client.expect(request).await?;
        let body = good.json(Stage::Fetch, &asked)?;
        let odd = || bad_answer(Stage::Fetch, &asked);
        let (rows, link) = page(body).ok_or_else(odd)?;
        self.next = match link {
            None => None,
            Some(link) => {
                let next = self.client.below_root(&link).ok_or_else(odd)?;
                // A link to itself would never end.
                if next == path {
                    return Err(odd());
                }
                Some(next)
            }
        };
        Ok(Some(rows))
    }
}

/// Rows and the link to the next page.
pub(super) fn page(body: Value) -> Option<(Vec<Columns>, Option<String>)> {
    let Value::Object(mut body) = body else {
        return None;
    };
    let Some(Value::Array(rows)) = body.remove("value") else {
        return None;
    };
    let row = |row| match row {
        Value::Object(columns) => Some(columns),
        _ => None,
    };
    let rows = rows.into_iter().map(row).collect::<Option<_>>()?;
    let link = body.get("@odata.nextLink").and_then(Value::as_str);
    Some((rows, link.map(str::to_owned)))
}
