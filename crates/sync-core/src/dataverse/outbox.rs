//! The outbox table over the Web API. Rows that are worked on at once share requests.

use async_trait::async_trait;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::client::DataverseClient;
use super::merge::{ReadPages, Write, WriteAsk};
use super::request::Request;
use crate::failure::{Failure, Stage};
use crate::outbox::{Outbox, OutboxRow};
use crate::ports::AckWrite;

const SET: &str = DataverseOutbox::SET;
const COLUMNS: &str = DataverseOutbox::COLUMNS;
/// Rows read per sweep: a sweep that dies half-way leaves little behind.
const PAGE: u32 = 100;

/// Status reasons of an outbox row.
mod status {
    pub(super) const SENDING: u32 = 2;
    pub(super) const RETRY_WAIT: u32 = 3;
    pub(super) const FAILED: u32 = 4;
}

/// The outbox of one environment.
#[derive(Clone)]
pub struct DataverseOutbox(pub DataverseClient);

impl DataverseOutbox {
    /// The table's logical name.
    pub const TABLE: &str = "dvs_outbox";
    /// Its entity set.
    pub const SET: &str = "dvs_outboxes";
    /// What a sweep reads of each row, as it stands in `$select`.
    pub const COLUMNS: &str =
        "dvs_outboxid,dvs_messageid,dvs_correlationid,dvs_payload,dvs_attempts";
}

#[async_trait]
impl Outbox for DataverseOutbox {
    async fn due(&self, now: OffsetDateTime) -> Result<Vec<OutboxRow>, Failure> {
        let filter = format!(
            "statuscode ne {} and dvs_nextattempton le {}",
            status::FAILED,
            rfc3339(now)
        );
        let path = format!(
            "{SET}?$select={COLUMNS}&$filter={}&$orderby=createdon&$top={PAGE}",
            utf8_percent_encode(&filter, NON_ALPHANUMERIC)
        );
        let answer = self
            .0
            .expect(Request::get(Stage::Fetch, &path, "outbox-sweep"))
            .await?;
        let page = answer.json(Stage::Fetch, &format!("GET {SET}"))?;
        let rows = page
            .get("value")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let rows = rows.iter().filter_map(Value::as_object);
        rows.map(read).collect()
    }

    async fn claim(
        &self,
        row: &OutboxRow,
        lease: OffsetDateTime,
    ) -> Result<Option<OutboxRow>, Failure> {
        let columns = json!({ "statuscode": status::SENDING, "dvs_nextattempton": rfc3339(lease) });
        match self.write(row, changed(columns)).await? {
            AckWrite::Written => {}
            AckWrite::Conflict | AckWrite::Gone => return Ok(None),
        }
        // The claim moved the etag; what follows is conditional on the new one.
        let pages = ReadPages {
            stage: Stage::Fetch,
            entity_set: SET.into(),
            primary_key: "dvs_outboxid".into(),
            options: format!("$select={COLUMNS}"),
            // A row that somebody took away after the claim is not ours to send.
            confirm_absence: false,
        };
        let columns = self.0.row(pages, row.id, &row.correlation_id).await?;
        columns.map(|columns| read(&columns)).transpose()
    }

    async fn delete(&self, row: &OutboxRow) -> Result<(), Failure> {
        // Gone, or taken over after our lease ended: either way not ours to delete.
        self.write(row, Write::Delete).await.map(|_| ())
    }

    async fn keep(
        &self,
        row: &OutboxRow,
        reason: &str,
        next: Option<OffsetDateTime>,
    ) -> Result<(), Failure> {
        let columns = json!({
            "statuscode": if next.is_some() { status::RETRY_WAIT } else { status::FAILED },
            "dvs_attempts": row.attempts + 1,
            "dvs_lasterror": reason.chars().take(2000).collect::<String>(),
            "dvs_nextattempton": next.map(rfc3339),
        });
        self.write(row, changed(columns)).await.map(|_| ())
    }
}

impl DataverseOutbox {
    async fn write(&self, row: &OutboxRow, write: Write) -> Result<AckWrite, Failure> {
        let ask = WriteAsk {
            stage: Stage::Fetch,
            path: format!("{SET}({})", row.id),
            etag: row.etag.clone(),
            write,
            correlation: row.correlation_id.clone(),
        };
        self.0.write_row(ask).await
    }
}

fn changed(columns: Value) -> Write {
    match columns {
        Value::Object(columns) => Write::Columns(columns),
        _ => Write::Columns(Map::new()),
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    // Whole seconds: what a Dataverse date column holds, and a form that can always be written.
    at.replace_nanosecond(0)
        .unwrap_or(at)
        .format(&Rfc3339)
        .unwrap_or_default()
}

fn read(row: &Map<String, Value>) -> Result<OutboxRow, Failure> {
    let text = |name: &str| {
        row.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let id = Uuid::parse_str(&text("dvs_outboxid"));
    let etag = text("@odata.etag");
    match id {
        Ok(id) if !etag.is_empty() => Ok(OutboxRow {
            id,
            etag,
            message_id: text("dvs_messageid"),
            correlation_id: text("dvs_correlationid"),
            payload: text("dvs_payload"),
            attempts: row
                .get("dvs_attempts")
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
        }),
        _ => Err(Failure::transient(
            Stage::Fetch,
            "DataverseBadAnswer",
            format!("Dataverse answered GET {SET} with a row without id or etag."),
        )),
    }
}
