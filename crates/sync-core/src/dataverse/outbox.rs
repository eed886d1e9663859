//! The outbox table over the Web API.

use async_trait::async_trait;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::answer::ServiceError;
use super::classify::classify;
use super::client::DataverseClient;
use super::request::{Precondition, Request, asked};
use crate::failure::{Failure, Stage};
use crate::outbox::{Outbox, OutboxRow};

const SET: &str = "dvs_outboxes";
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

#[async_trait]
impl Outbox for DataverseOutbox {
    async fn due(&self, now: OffsetDateTime) -> Result<Vec<OutboxRow>, Failure> {
        let filter = format!(
            "statuscode ne {} and dvs_nextattempton le {}",
            status::FAILED,
            rfc3339(now)
        );
        let path = format!(
            "{SET}?$select=dvs_outboxid,dvs_messageid,dvs_correlationid,dvs_payload,dvs_attempts\
             &$filter={}&$orderby=createdon&$top={PAGE}",
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
        rows.iter().map(read).collect()
    }

    async fn claim(
        &self,
        row: &OutboxRow,
        lease: OffsetDateTime,
    ) -> Result<Option<OutboxRow>, Failure> {
        let columns = json!({ "statuscode": status::SENDING, "dvs_nextattempton": rfc3339(lease) });
        match self.patch(row, &columns).await? {
            Ok(()) => {}
            Err(e) if e.is_conflict() || e.is_row_gone() => return Ok(None),
            Err(e) => return Err(classify(&e, Stage::Fetch, &format!("PATCH {SET}"))),
        }
        // The claim moved the etag; what follows is conditional on the new one.
        let path = format!(
            "{SET}({})?$select=dvs_messageid,dvs_correlationid,dvs_payload,dvs_attempts",
            row.id
        );
        let answer = self
            .0
            .call(Request::get(Stage::Fetch, &path, &row.correlation_id))
            .await?;
        match answer {
            Ok(good) => Ok(Some(read(
                &good.json(Stage::Fetch, &format!("GET {SET}"))?,
            )?)),
            Err(e) if e.is_row_gone() => Ok(None),
            Err(e) => Err(classify(&e, Stage::Fetch, &format!("GET {SET}"))),
        }
    }

    async fn delete(&self, row: &OutboxRow) -> Result<(), Failure> {
        let path = format!("{SET}({})", row.id);
        let request = Request::new(Stage::Fetch, Method::DELETE, &path, &row.correlation_id)
            .on_condition(Precondition::Unchanged(&row.etag));
        match self.0.call(request).await? {
            Ok(_) => Ok(()),
            // Gone, or taken over after our lease ended: either way not ours to delete.
            Err(e) if e.is_row_gone() || e.is_conflict() => Ok(()),
            Err(e) => Err(classify(&e, Stage::Fetch, &asked(&Method::DELETE, &path))),
        }
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
        match self.patch(row, &columns).await? {
            Ok(()) => Ok(()),
            Err(e) if e.is_row_gone() || e.is_conflict() => Ok(()),
            Err(e) => Err(classify(&e, Stage::Fetch, &format!("PATCH {SET}"))),
        }
    }
}

impl DataverseOutbox {
    async fn patch(
        &self,
        row: &OutboxRow,
        columns: &Value,
    ) -> Result<Result<(), ServiceError>, Failure> {
        let path = format!("{SET}({})", row.id);
        let request = Request::new(Stage::Fetch, Method::PATCH, &path, &row.correlation_id)
            .on_condition(Precondition::Unchanged(&row.etag))
            .json(columns);
        Ok(self.0.call(request).await?.map(|_| ()))
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    // Whole seconds: what a Dataverse date column holds, and a form that can always be written.
    at.replace_nanosecond(0)
        .unwrap_or(at)
        .format(&Rfc3339)
        .unwrap_or_default()
}

fn read(row: &Value) -> Result<OutboxRow, Failure> {
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
