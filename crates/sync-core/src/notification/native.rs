//! Dataverse's native event: `RemoteExecutionContext` as JSON.
//!
//! Only ids, names and times are used. Its columns are hints and are dropped by the platform above
//! 192 KB (Power Apps docs, "Azure integration"), so the row itself is read in any case.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Notification, Operation, member, text};
use crate::failure::Failure;

pub(super) fn read(context: &Map<String, Value>) -> Result<Notification, Failure> {
    let guid = |name: &str| {
        text(context, name)
            .and_then(|s| Uuid::parse_str(s).map_err(|_| member(name, "is not a GUID")))
    };
    let operation = match text(context, "MessageName")? {
        "Create" => Operation::Create,
        "Update" => Operation::Update,
        "Delete" => Operation::Delete,
        // Assign, SetState, Associate and custom messages all mean: look at the row.
        _ => Operation::Update,
    };
    let row = guid("PrimaryEntityId")?;
    let correlation_id = guid("CorrelationId").unwrap_or(row).to_string();
    // OperationId names the system job, so it is the same when the platform posts the job again.
    let notification_id = guid("OperationId")
        .ok()
        .filter(|id| !id.is_nil())
        .map_or_else(|| format!("{correlation_id}:{row}"), |id| id.to_string());
    Ok(Notification {
        schema_version: 1,
        notification_id,
        correlation_id,
        table: text(context, "PrimaryEntityName")?.to_owned(),
        source_row_id: row,
        operation,
        occurred_at: context
            .get("OperationCreatedOn")
            .and_then(Value::as_str)
            .and_then(date)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        row_version: None,
        pre_image: None,
    })
}

/// `/Date(ms)/` and `/Date(ms+hhmm)/`, where the offset is for display only, or RFC 3339.
fn date(s: &str) -> Option<OffsetDateTime> {
    let Some(inner) = s.strip_prefix("/Date(").and_then(|s| s.strip_suffix(")/")) else {
        return OffsetDateTime::parse(s, &Rfc3339).ok();
    };
    // Skip the first character: it may be the minus sign of a time before 1970.
    let end = inner
        .get(1..)?
        .find(['+', '-'])
        .map_or(inner.len(), |i| i + 1);
    let ms: i128 = inner.get(..end)?.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(ms * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_remote_execution_context_becomes_a_notification_of_its_row() {
        let body = include_bytes!("../../tests/golden/remote-execution-context.json");
        let n = Notification::decode(body).unwrap();
        assert_eq!(n.table, "contact");
        assert_eq!(n.operation, Operation::Update);
        assert_eq!(
            n.source_row_id.to_string(),
            "6d81597f-0f9f-e711-8122-000d3aa2331c"
        );
        assert_eq!(n.correlation_id, "b374239d-4233-41a9-8b17-a86cb4f737b5");
        assert_eq!(n.notification_id, "4af10637-4ea2-e711-8122-000d3aa2331c");
        assert_eq!(n.occurred_at, datetime!(2017-09-26 07:04:08 UTC));
    }

    #[test]
    fn the_offset_of_a_date_is_for_display_only_and_times_before_1970_are_read() {
        assert_eq!(
            date("/Date(1506409448000-0700)/"),
            date("/Date(1506409448000)/")
        );
        assert_eq!(
            date("/Date(-1000)/"),
            Some(datetime!(1969-12-31 23:59:59 UTC))
        );
        assert_eq!(
            date("2017-09-26T07:04:08Z"),
            date("/Date(1506409448000+0200)/")
        );
        assert_eq!(date("/Date()/"), None);
    }
}
