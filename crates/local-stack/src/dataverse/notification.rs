//! The notification of the plug-in's outbox row, and how the asynchronous step reads it back.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::cell::format_time;
use super::journal::Operation;
use super::schema::Table;
use super::service::Save;
use super::steps::Step;
use super::store::Row;

/// The notification, version 1.
pub(super) fn notification(
    id: Uuid,
    save: &Save<'_>,
    step: &Step,
    table: &Table,
    row: &Row,
    operation: Operation,
) -> Value {
    let mut notification = json!({
        "schemaVersion": 1,
        "notificationId": id,
        "correlationId": save.correlation_id,
        "table": table.logical,
        "sourceRowId": row.id,
        "operation": operation.as_str(),
        "occurredAt": format_time(save.now),
        // A text, because JSON numbers stop being exact above 2^53 in many readers.
        "rowVersion": row.version.to_string(),
    });
    if operation == Operation::Delete {
        let image: Map<String, Value> = step
            .delete_image
            .iter()
            .map(|name| (name.clone(), row.get(table, name).to_json()))
            .collect();
        notification["preImage"] = Value::Object(image);
    }
    notification
}

/// A notification as the asynchronous step reads it back from the outbox row.
pub(super) fn body_of(outbox: &Table, row: &Row) -> Bytes {
    let payload = row.get(outbox, "dvs_payload").as_text();
    Bytes::copy_from_slice(payload.unwrap_or_default().as_bytes())
}
