//! Change tracking: what changed in a table since a link was given, deletes included.
//!
//! Wire format: Power Apps docs, "Use change tracking to synchronize data with external systems". A
//! link serves for seven days by default; then everything has to be read anew.

use http::Method;
use serde_json::Value;
use uuid::Uuid;

use super::classify::classify;
use super::client::DataverseClient;
use super::query::Columns;
use super::request::{Request, asked, bad_answer};
use crate::failure::{Failure, Stage};

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub enum Since<'a> {
    /// With every row of a table.
    Everything {
        /// E.g. `accounts`.
        entity_set: &'a str,
        /// Columns to read.
        columns: &'a [&'a str],
    },
    /// Where an earlier [`ChangePage`] ended. Links can be stored.
    Link(&'a str),
}

/// One row's last state.
#[derive(Debug, Clone, PartialEq)]
pub enum RowChange {
    /// It exists, with these columns.
    Row(Columns),
    /// It was deleted.
    Deleted(Uuid),
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Changes {
    /// A page of changes.
    Page(ChangePage),
    /// The link is too old: begin with everything.
    Expired,
}

/// A page of changes: changed rows come before deleted ones, each in its last state only.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangePage {
    /// The changes.
    pub changes: Vec<RowChange>,
    /// Link to go on with: the rest of this answer, or what changes from now on.
    pub next: String,
    /// Whether this answer has more pages.
    pub more: bool,
}

impl DataverseClient {
    /// One page of what changed.
    ///
    /// # Errors
    /// A refusal other than for the age of the link, or no answer.
    pub async fn changes(&self, since: Since<'_>, correlation: &str) -> Result<Changes, Failure> {
        const STAGE: Stage = Stage::Fetch;
        let path = match since {
            Since::Everything {
                entity_set,
                columns,
            } => format!("{entity_set}?$select={}", columns.join(",")),
            Since::Link(link) => self.below_root(link).ok_or_else(|| {
                let text = "The stored change-tracking link is none of this API.";
                Failure::config(STAGE, "DataverseBadLink", text)
            })?,
        };
        let request = Request {
            prefer: Some("odata.track-changes"),
            ..Request::get(STAGE, &path, correlation)
        };
        let asked = asked(&Method::GET, &path);
        match self.call(request).await? {
            Ok(good) => {
                let body = good.json(STAGE, &asked)?;
                let page = read(&body).ok_or_else(|| bad_answer(STAGE, &asked))?;
                Ok(Changes::Page(page))
            }
            Err(e) if e.is_expired_token() => Ok(Changes::Expired),
            Err(e) => Err(classify(&e, STAGE, &asked)),
        }
    }
}

pub(super) fn read(body: &Value) -> Option<ChangePage> {
    let link = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let (next, delta) = (link("@odata.nextLink"), link("@odata.deltaLink"));
    let change = |item: &Value| {
        let columns = item.as_object()?;
        let context = columns.get("@odata.context").and_then(Value::as_str);
        if context.is_some_and(|context| context.ends_with("/$deletedEntity")) {
            let id = columns.get("id")?.as_str()?;
            return Some(RowChange::Deleted(Uuid::parse_str(id).ok()?));
        }
        Some(RowChange::Row(columns.clone()))
    };
    Some(ChangePage {
        changes: body
            .get("value")?
            .as_array()?
            .iter()
            .map(change)
            .collect::<Option<_>>()?,
        more: next.is_some(),
        next: next.or(delta)?,
    })
}
