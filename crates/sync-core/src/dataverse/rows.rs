//! Rows: the reads of the outbound side and the acknowledgement writes of the inbound side.

use async_trait::async_trait;
use http::Method;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::answer::{ServiceError, classify};
use super::client::{DataverseClient, Good, Precondition, asked};
use crate::config::TableConfig;
use crate::failure::{Failure, Stage};
use crate::ports::{AckState, AckWrite, Acknowledgements, Source};
use crate::snapshot::{Latest, RowVersion, Snapshot};

/// Marks our own writes: a plug-in finds it in its shared variables and stays quiet.
pub(super) const TAG: &str = "dataverse-sync";

impl DataverseClient {
    /// Columns of one row; `None` when the row does not exist.
    async fn row(
        &self,
        stage: Stage,
        table: &TableConfig,
        row: Uuid,
        select: &[&str],
        correlation: &str,
    ) -> Result<Option<Map<String, Value>>, Failure> {
        let path = format!("{}({row})?$select={}", table.entity_set, select.join(","));
        let asked = asked(&Method::GET, &path);
        let answer = self
            .call(stage, Method::GET, &path, None, None, correlation)
            .await?;
        match answer {
            Ok(good) => match good.json(stage, &asked)? {
                Value::Object(columns) => Ok(Some(columns)),
                _ => Err(odd(stage, &asked)),
            },
            Err(e) if e.is_row_gone() => Ok(None),
            Err(e) => Err(classify(&e, stage, &asked)),
        }
    }
}

fn odd(stage: Stage, asked: &str) -> Failure {
    let text = format!("Dataverse answered {asked} without what was selected.");
    Failure::transient(stage, "DataverseBadAnswer", text)
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
        let select = table.select();
        let Some(columns) = self
            .row(Stage::Fetch, table, row, &select, correlation)
            .await?
        else {
            return Ok(Latest::Gone);
        };
        let Some(at) = version(&columns, "versionnumber") else {
            return Err(odd(
                Stage::Fetch,
                &format!("GET {}({row})", table.entity_set),
            ));
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
        let columns = self
            .row(Stage::Fetch, table, row, &["versionnumber"], correlation)
            .await?;
        columns
            .map(|columns| {
                version(&columns, "versionnumber")
                    .ok_or_else(|| odd(Stage::Fetch, &format!("GET {}({row})", table.entity_set)))
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
        let select = [
            table.ack.version.as_str(),
            table.ack.acknowledged_on.as_str(),
        ];
        let columns = self
            .row(Stage::Acknowledge, table, row, &select, correlation)
            .await?;
        let Some(columns) = columns else {
            return Ok(None);
        };
        let text = |name: &str| columns.get(name).and_then(Value::as_str);
        let Some(etag) = text("@odata.etag") else {
            return Err(odd(
                Stage::Acknowledge,
                &format!("GET {}({row})", table.entity_set),
            ));
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
        let asked = asked(&Method::PATCH, &path);
        let body = Value::Object(columns);
        let condition = Some(Precondition::Unchanged(etag));
        let stage = Stage::Acknowledge;
        let answer: Result<Good, ServiceError> = self
            .call(
                stage,
                Method::PATCH,
                &path,
                condition,
                Some(&body),
                correlation,
            )
            .await?;
        match answer {
            Ok(_) => Ok(AckWrite::Written),
            Err(e) if e.is_conflict() => Ok(AckWrite::Conflict),
            Err(e) if e.is_row_gone() => Ok(AckWrite::Gone),
            Err(e) => Err(classify(&e, stage, &asked)),
        }
    }
}
