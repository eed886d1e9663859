//! The message on the inbound queue: how a row fared in the target, with both keys.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::failure::{Failure, Stage};
use crate::snapshot::RowVersion;

/// Application property of the message that carries one: when the change was saved (RFC 3339).
pub const OCCURRED_AT: &str = "OccurredAt";

/// How the row fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The target holds the row as it was at `sourceVersion`.
    Delivered,
    /// The row is gone from Dataverse, and the target knows.
    Deleted,
    /// The notification ended in the dead-letter queue.
    Rejected,
}

impl Outcome {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deleted => "deleted",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a row was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Stable reason code, as in the dead-letter queue.
    pub code: String,
    /// Stage of the failure.
    pub stage: String,
    /// What a person can do about it.
    pub message: String,
}

/// How a row fared in the target, version 1. JSON, camelCase, unknown members ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// Always 1.
    pub schema_version: u32,
    /// Of the business change.
    pub correlation_id: String,
    /// The notification that led to it.
    pub notification_id: String,
    /// Logical name of the table.
    pub table: String,
    /// Primary key of the source row.
    pub source_row_id: Uuid,
    /// Which target system, as named in `sync.json`.
    pub target_system: String,
    /// The row's key in the target system, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_row_id: Option<String>,
    /// How the row fared.
    pub outcome: Outcome,
    /// `versionnumber` the delivered snapshot was read at. Absent where no version is known: a
    /// rejection before the row could be read, or a delete announced without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<RowVersion>,
    /// SHA-256 of the delivered payload, hex. For reconciliation and preview only, never to decide
    /// whether something still has to be sent: a row that goes A, B, A has the hash of A twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hash: Option<String>,
    /// When the target's answer was processed.
    #[serde(with = "time::serde::rfc3339")]
    pub processed_at: OffsetDateTime,
    /// Why, if rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Rejection>,
}

impl Acknowledgement {
    /// Reads an acknowledgement.
    ///
    /// # Errors
    /// A permanent failure of stage `decode`, without a value from the body.
    pub fn decode(body: &[u8]) -> Result<Self, Failure> {
        let fail =
            |message: String| Failure::permanent(Stage::Decode, "InvalidAcknowledgement", message);
        let ack: Self = serde_json::from_slice(body).map_err(|e| {
            fail(format!(
                "The body is not a version 1 acknowledgement (line {}, column {}). Only outbound-fn may send to this queue.",
                e.line(),
                e.column()
            ))
        })?;
        if ack.schema_version != 1 {
            return Err(fail(format!(
                "schemaVersion is {}, and this app reads version 1. Deploy the app version that knows it, then resend.",
                ack.schema_version
            )));
        }
        Ok(ack)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_wire_form_is_the_golden_one() {
        let ack = Acknowledgement {
            schema_version: 1,
            correlation_id: "c-1".into(),
            notification_id: "n-1".into(),
            table: "account".into(),
            source_row_id: Uuid::from_u128(0x6d81_597f_0f9f_e711_8122_000d_3aa2_331c),
            target_system: "customer-api".into(),
            target_row_id: Some("C-000123".into()),
            outcome: Outcome::Delivered,
            source_version: Some(RowVersion(502_186)),
            payload_hash: Some("ab12".into()),
            processed_at: datetime!(2026-03-02 09:15:30 UTC),
            error: None,
        };
        let golden = include_str!("../tests/golden/acknowledgement.json").trim();
        assert_eq!(serde_json::to_string(&ack).unwrap(), golden);
        assert_eq!(Acknowledgement::decode(golden.as_bytes()).unwrap(), ack);
    }
}
