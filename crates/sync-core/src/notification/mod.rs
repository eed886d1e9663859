//! The message on the outbound queue: "row R may have changed".
//!
//! Two shapes arrive on the same queue: our own notification, version 1, posted by the plug-in, and
//! Dataverse's native `RemoteExecutionContext` JSON, posted by a service endpoint ([`native`]). Both
//! become a [`Notification`]; which columns changed is never taken from the message.

mod native;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::failure::{Failure, Stage};
use crate::snapshot::{RowKey, RowVersion};

/// What the sender saw happen. A hint only: the row as it is now decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The row was created.
    Create,
    /// The row was changed.
    Update,
    /// The row was deleted.
    Delete,
    /// Somebody asked for the row to be sent again, whatever was acknowledged.
    Resync,
}

/// "Row R may have changed", version 1. JSON, camelCase, unknown members ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Always 1.
    pub schema_version: u32,
    /// Names this notification; the outbox row's message id.
    pub notification_id: String,
    /// One per business change, from the save to the acknowledgement.
    pub correlation_id: String,
    /// Logical name of the table, e.g. `account`.
    pub table: String,
    /// Primary key of the row.
    pub source_row_id: Uuid,
    /// What the sender saw happen.
    pub operation: Operation,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// `versionnumber` of the row right after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_version: Option<RowVersion>,
    /// The columns a delete needs, as they were before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_image: Option<Map<String, Value>>,
}

impl Notification {
    /// The row this is about.
    #[must_use]
    pub fn row(&self) -> RowKey {
        RowKey {
            table: self.table.clone(),
            id: self.source_row_id,
        }
    }

    /// Reads either shape.
    ///
    /// # Errors
    /// A permanent failure of stage `decode` that names the member at fault, never its value: a body
    /// that cannot be read today cannot be read tomorrow.
    pub fn decode(body: &[u8]) -> Result<Self, Failure> {
        let value: Value = serde_json::from_slice(body).map_err(|e| {
            // serde_json's own text may quote the body; its position does not.
            invalid(format!(
                "The body is not JSON (line {}, column {}). Repair the sender, then resend the change.",
                e.line(),
                e.column()
            ))
        })?;
        let Value::Object(members) = value else {
            return Err(invalid(
                "The body is JSON but not an object. Repair the sender, then resend the change.",
            ));
        };
        if members.contains_key("PrimaryEntityId") {
            native::read(&members)
        } else {
            read_v1(members)
        }
    }
}

fn read_v1(members: Map<String, Value>) -> Result<Notification, Failure> {
    match members.get("schemaVersion").and_then(Value::as_u64) {
        Some(1) => {}
        Some(other) => {
            return Err(invalid(format!(
                "schemaVersion is {other}, and this app reads version 1. Deploy the app version that knows it, then resend."
            )));
        }
        None => {
            return Err(invalid(
                "schemaVersion is missing: neither a version 1 notification nor a RemoteExecutionContext. Repair the sender, then resend the change.",
            ));
        }
    }
    // Each member is checked by name first, so that the reason names the member at fault and never
    // quotes its value.
    for name in ["notificationId", "correlationId"] {
        // Both travel in headers and message properties.
        let id = text(&members, name)?;
        if id.len() > 128 || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(member(name, "is not 1 to 128 visible ASCII characters"));
        }
    }
    text(&members, "table")?;
    let row = text(&members, "sourceRowId")?;
    if Uuid::parse_str(row).is_err() {
        return Err(member("sourceRowId", "is not a GUID"));
    }
    if !matches!(
        text(&members, "operation")?,
        "create" | "update" | "delete" | "resync"
    ) {
        return Err(member(
            "operation",
            "is none of create, update, delete, resync",
        ));
    }
    text(&members, "occurredAt")?;
    serde_json::from_value(Value::Object(members)).map_err(|_| {
        invalid(
            "occurredAt, rowVersion or preImage has the wrong form (an RFC 3339 time, a decimal number, an object). Repair the sender, then resend the change.",
        )
    })
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Failure> {
    match members.get(name) {
        Some(Value::String(s)) if !s.is_empty() => Ok(s),
        Some(Value::String(_)) => Err(member(name, "is empty")),
        Some(_) => Err(member(name, "is not a string")),
        None => Err(member(name, "is missing")),
    }
}

fn member(name: &str, problem: &str) -> Failure {
    invalid(format!(
        "{name} {problem}. Repair the sender, then resend the change."
    ))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::permanent(Stage::Decode, "InvalidNotification", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = r#"{"schemaVersion":1,"notificationId":"n-1","correlationId":"c-1","table":"account",
        "sourceRowId":"6d81597f-0f9f-e711-8122-000d3aa2331c","operation":"update",
        "occurredAt":"2026-03-02T09:15:30Z","rowVersion":"502186","futureMember":true}"#;

    #[test]
    fn unknown_members_are_ignored() {
        let n = Notification::decode(V1.as_bytes()).unwrap();
        assert_eq!(n.row_version, Some(RowVersion(502_186)));
        assert_eq!(
            n.row().to_string(),
            "account:6d81597f-0f9f-e711-8122-000d3aa2331c"
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_quoted() {
        for (from, to, expected) in [
            (
                r#""schemaVersion":1"#,
                r#""schemaVersion":2"#,
                "schemaVersion is 2",
            ),
            ("6d81597f-0f9f", "SECRET-NAME", "sourceRowId is not a GUID"),
            (r#""update""#, r#""SECRET""#, "operation is none of"),
            (r#""account""#, "7", "table is not a string"),
            (
                "2026-03-02T",
                "SECRET",
                "occurredAt, rowVersion or preImage",
            ),
            (r#""table":"#, r#""tabel":"#, "table is missing"),
            ("c-1", r"SECRET\n", "correlationId is not 1 to 128 visible"),
            ("{", "{{SECRET", "not JSON (line 1"),
        ] {
            let failure = Notification::decode(V1.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(failure.class, crate::failure::Class::Permanent);
            assert!(failure.message.contains(expected), "{from}: {failure}");
            assert!(!failure.message.contains("SECRET"), "{failure}");
        }
    }
}
