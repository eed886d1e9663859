//! Rows: the reads of the outbound side and the acknowledgement writes of the inbound side.

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::classify::classify;
use super::client::DataverseClient;
use super::merge::{ReadPages, Write, WriteAsk};
use super::query::{RowPages, Select};
use super::request::{Request, bad_answer};
use crate::config::TableConfig;
use crate::failure::{Failure, Stage};
use crate::ports::{AckState, AckWrite, Acknowledgements, Source};
use crate::reconcile;
use crate::snapshot::{Latest, RowVersion, Snapshot};

/// Marks our own writes: a plug-in finds it in its shared variables and stays quiet.
pub(super) const TAG: &str = "dataverse-sync";

impl DataverseClient {
    /// Columns of one row; `None` when the row does not exist.
    pub(super) async fn row(
        &self,
        pages: ReadPages,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<Map<String, Value>>, Failure> {
        if let Some(merged) = &self.merged {
            return merged.read(pages, row, correlation).await;
        }
        let (stage, path) = (pages.stage, pages.single(row));
        let request = Request::get(stage, &path, correlation);
        let asked = request.asked();
        match self.call(request).await? {
            Ok(good) => match good.json(stage, &asked)? {
                Value::Object(columns) => Ok(Some(columns)),
                _ => Err(bad_answer(stage, &asked)),
            },
            Err(e) if e.is_row_gone() => Ok(None),
            Err(e) => Err(classify(&e, stage, &asked)),
        }
    }

    /// The rows of a table, by [`pages`](Self::pages), with what says how each stands in the target.
    #[must_use]
    pub fn standings(
        &self,
        table: &TableConfig,
        filter: &str,
        page_size: u32,
        correlation: &str,
    ) -> RowPages {
        let columns: Vec<&str> = reconcile::columns(table).into_iter().collect();
        selected(table, &columns, |select| {
            self.pages(&table.entity_set, select, filter, page_size, correlation)
        })
    }

    /// Writes one row on a condition, together with whoever else writes at the time.
    pub(super) async fn write_row(&self, ask: WriteAsk) -> Result<AckWrite, Failure> {
        match &self.merged {
            Some(merged) => merged.write(ask).await,
            None => ask.alone(self).await,
        }
    }
}

/// What is made of a selection of these columns and of all that the table's mapping reads behind lookups.
fn selected<T>(table: &TableConfig, columns: &[&str], make: impl FnOnce(Select<'_>) -> T) -> T {
    let expand: Vec<(&str, Vec<&str>)> = table
        .expand()
        .into_iter()
        .map(|(navigation, columns)| (navigation, columns.into_iter().collect()))
        .collect();
    let expand: Vec<(&str, &[&str])> = expand.iter().map(|(n, c)| (*n, &c[..])).collect();
    make(Select {
        columns,
        expand: &expand,
    })
}

/// The reads of one table that select these columns.
fn pages(
    table: &TableConfig,
    stage: Stage,
    select: Select<'_>,
    confirm_absence: bool,
) -> ReadPages {
    ReadPages {
        stage,
        entity_set: table.entity_set.clone(),
        primary_key: table.primary_key.clone(),
        options: select.options(),
        confirm_absence,
    }
}

fn odd(stage: Stage, table: &TableConfig, row: Uuid) -> Failure {
    bad_answer(stage, &format!("GET {}({row})", table.entity_set))
}

fn version(columns: &Map<String, Value>, name: &str) -> Option<RowVersion> {
    match columns.get(name)? {
        Value::Number(n) => n.as_i64().map(RowVersion),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}

#[async_trait]
impl Source for DataverseClient {
    async fn latest(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Latest, Failure> {
        let pages = selected(table, &table.select(), |select| {
            pages(table, Stage::Fetch, select, true)
        });
        let Some(columns) = self.row(pages, row, correlation).await? else {
            return Ok(Latest::Gone);
        };
        let Some(at) = version(&columns, "versionnumber") else {
            return Err(odd(Stage::Fetch, table, row));
        };
        let acknowledged = version(&columns, &table.ack.version);
        Ok(Latest::Row(Snapshot {
            version: at,
            acknowledged,
            columns,
        }))
    }

    async fn version(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<RowVersion>, Failure> {
        // An absent row only makes the flight fetch again, and that confirms it.
        let select = Select {
            columns: &["versionnumber"],
            expand: &[],
        };
        let pages = pages(table, Stage::Fetch, select, false);
        let columns = self.row(pages, row, correlation).await?;
        columns
            .map(|columns| {
                version(&columns, "versionnumber").ok_or_else(|| odd(Stage::Fetch, table, row))
            })
            .transpose()
    }
}

#[async_trait]
impl Acknowledgements for DataverseClient {
    async fn read(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<AckState>, Failure> {
        let select = Select {
            columns: &[
                table.ack.version.as_str(),
                table.ack.acknowledged_on.as_str(),
            ],
            expand: &[],
        };
        let pages = pages(table, Stage::Acknowledge, select, true);
        let Some(columns) = self.row(pages, row, correlation).await? else {
            return Ok(None);
        };
        let text = |name: &str| columns.get(name).and_then(Value::as_str);
        let Some(etag) = text("@odata.etag") else {
            return Err(odd(Stage::Acknowledge, table, row));
        };
        Ok(Some(AckState {
            etag: etag.to_owned(),
            version: version(&columns, &table.ack.version),
            acknowledged_on: text(&table.ack.acknowledged_on)
                .and_then(|s| OffsetDateTime::parse(s, &Rfc3339).ok()),
        }))
    }

    async fn write(
        &self,
        table: &TableConfig,
        row: Uuid,
        etag: &str,
        columns: Map<String, Value>,
        correlation: &str,
    ) -> Result<AckWrite, Failure> {
        let path = format!("{}({row})?tag={TAG}", table.entity_set);
        let ask = WriteAsk {
            stage: Stage::Acknowledge,
            path,
            etag: etag.to_owned(),
            write: Write::Columns(columns),
            correlation: correlation.to_owned(),
        };
        self.write_row(ask).await
    }
}
