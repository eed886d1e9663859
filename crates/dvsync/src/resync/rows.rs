//! Rows of a table, read page by page, with patience for Dataverse's limits.

use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value};
use sync_core::config::TableConfig;
use sync_core::dataverse::{DataverseClient, RowPages};
use sync_core::patience::{Patience, try_patiently};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Options;

/// Wide rows in one answer.
const PAGE: u32 = 500;
/// Ids in one filter: an address has its limits.
const IDS: usize = 50;
/// A person waits for it: for as long as Dataverse holds an identity back, and for a blip.
const PATIENCE: Patience = Patience {
    retries: 6,
    longest_wait: Duration::from_secs(300),
};

/// Pages, one after the other.
pub(super) struct Rows<'a> {
    dataverse: &'a DataverseClient,
    table: &'a TableConfig,
    correlation: String,
    /// Filters to be asked by.
    waiting: Vec<String>,
    pages: Option<RowPages>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(
        dataverse: &'a DataverseClient,
        table: &'a TableConfig,
        options: &Options,
    ) -> Self {
        Self {
            dataverse,
            table,
            correlation: Uuid::new_v4().to_string(),
            waiting: filters(
                &table.primary_key,
                &options.row,
                options.since,
                options.filter.as_deref(),
            ),
            pages: None,
        }
    }

    /// The next page; `None` after the last one.
    pub(super) async fn next_page(&mut self) -> anyhow::Result<Option<Vec<Map<String, Value>>>> {
        loop {
            let pages = match &mut self.pages {
                Some(pages) => pages,
                None => {
                    let Some(filter) = self.waiting.pop() else {
                        return Ok(None);
                    };
                    let pages =
                        self.dataverse
                            .standings(self.table, &filter, PAGE, &self.correlation);
                    self.pages.insert(pages)
                }
            };
            match patiently(pages).await? {
                Some(page) => return Ok(Some(page)),
                None => self.pages = None,
            }
        }
    }
}

/// Waits for as long as Dataverse asks, and tries again what may pass.
async fn patiently(pages: &mut RowPages) -> anyhow::Result<Option<Vec<Map<String, Value>>>> {
    let read = || {
        let mut pages = pages.clone();
        async move {
            let page = pages.next_page().await?;
            Ok((page, pages))
        }
    };
    // One reader has nobody to spread out from.
    let read = try_patiently(PATIENCE, || 0, read).await;
    let (page, next) = read.map_err(|failure| anyhow!(failure.message))?;
    *pages = next;
    Ok(page)
}

/// The OData filters that together let through what was asked for.
fn filters(
    key: &str,
    ids: &[Uuid],
    since: Option<OffsetDateTime>,
    own: Option<&str>,
) -> Vec<String> {
    let since = since.and_then(|time| time.to_offset(time::UtcOffset::UTC).format(&Rfc3339).ok());
    let since = since.map(|time| format!("modifiedon ge {time}"));
    let own = own.map(|own| format!("({own})"));
    let common: Vec<String> = since.into_iter().chain(own).collect();
    let with = |ids: Option<String>| {
        let all = ids.into_iter().chain(common.iter().cloned());
        all.collect::<Vec<_>>().join(" and ")
    };
    if ids.is_empty() {
        return vec![with(None)];
    }
    let some = |ids: &[Uuid]| {
        let each: Vec<_> = ids.iter().map(|id| format!("{key} eq {id}")).collect();
        with(Some(format!("({})", each.join(" or "))))
    };
    ids.chunks(IDS).map(some).collect()
}

/// A row's id.
pub(super) fn id(table: &TableConfig, row: &Map<String, Value>) -> anyhow::Result<Uuid> {
    let key = &table.primary_key;
    let id = row
        .get(key)
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    id.with_context(|| format!("Dataverse answered a row of {} without {key}", table.name))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_is_asked_for_becomes_one_filter_and_many_ids_several() {
        let since = datetime!(2026-03-02 10:15 +1);
        let read = |ids: &[Uuid], own| filters("accountid", ids, Some(since), own);
        assert_eq!(filters("accountid", &[], None, None), [""]);
        assert_eq!(
            read(&[], Some("statecode eq 0 or revenue gt 5")),
            ["modifiedon ge 2026-03-02T09:15:00Z and (statecode eq 0 or revenue gt 5)"]
        );
        let id = Uuid::from_u128(7);
        let one = format!(
            "(accountid eq {id} or accountid eq {id}) and modifiedon ge 2026-03-02T09:15:00Z"
        );
        assert_eq!(read(&[id, id], None), [one]);
        assert_eq!(read(&[id; 120], None).len(), 3);
    }
}
