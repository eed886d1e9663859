//! A dead letter, by what it says of itself.

use serde::Serialize;
use service_bus::{ReceivedMessage, Value};
use sync_core::acknowledgement::Acknowledgement;
use sync_core::message::{LAST_FAILURE, RETRY_COUNT};
use sync_core::notification::Notification;
use time::OffsetDateTime;
use uuid::Uuid;

/// Application property of a message that was sent again: which work sent it. Its letters, should it be
/// given up once more, carry it too.
pub const RESEND_ID: &str = "ResendId";

/// A message that was given up. Nothing of a row's values is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Where it was given up: [`Place::name`](crate::Place::name).
    pub queue: String,
    /// The broker's number for it, there.
    pub number: i64,
    /// Broker `MessageId`.
    pub message_id: Option<String>,
    /// Of the business change.
    pub correlation_id: Option<String>,
    /// The row's table; `None` if the body cannot be read.
    pub table: Option<String>,
    /// The row.
    pub row: Option<Uuid>,
    /// `DeadLetterReason`: the reason's code, or what the broker itself gives as a reason.
    pub reason: Option<String>,
    /// What a person can do about it.
    pub description: Option<String>,
    /// Stage of the failure.
    pub stage: Option<String>,
    /// Code of the failure, where the reason is another, such as used-up retries.
    pub code: Option<String>,
    /// HTTP status, where the failure was an answer.
    pub status: Option<i64>,
    /// Counted retries before it was given up.
    pub retries: i64,
    /// The failure before the last one, as `stage/code`.
    pub failed_before: Option<String>,
    /// When the message was enqueued for its last attempt, about which time it was given up.
    #[serde(with = "time::serde::rfc3339")]
    pub enqueued: OffsetDateTime,
    /// Which work sent it again before.
    pub resend_id: Option<Uuid>,
}

impl Letter {
    /// What `message`, of the place named `queue`, says.
    #[must_use]
    pub fn read(queue: &str, message: &ReceivedMessage) -> Self {
        let property = |name: &str| message.properties.get(name);
        let text = |name: &str| property(name).and_then(Value::as_str).map(str::to_owned);
        let (table, row, correlation_id) = about(&message.body);
        Self {
            queue: queue.to_owned(),
            number: message.sequence_number,
            message_id: message.message_id.clone(),
            correlation_id: message.correlation_id.clone().or(correlation_id),
            table,
            row,
            reason: message.dead_letter_reason().map(str::to_owned),
            description: message.dead_letter_description().map(str::to_owned),
            stage: text("FailureStage"),
            code: text("FailureCode"),
            status: property("FailureStatus").and_then(Value::as_i64),
            retries: property(RETRY_COUNT).and_then(Value::as_i64).unwrap_or(0),
            failed_before: text(LAST_FAILURE),
            enqueued: message.enqueued_time,
            resend_id: text(RESEND_ID).and_then(|id| id.parse().ok()),
        }
    }
}

/// Table, row and correlation id of a notification or acknowledgement.
fn about(body: &[u8]) -> (Option<String>, Option<Uuid>, Option<String>) {
    if let Ok(it) = Notification::decode(body) {
        return (
            Some(it.table),
            Some(it.source_row_id),
            Some(it.correlation_id),
        );
    }
    match Acknowledgement::decode(body) {
        Ok(it) => (
            Some(it.table),
            Some(it.source_row_id),
            Some(it.correlation_id),
        ),
        Err(_) => (None, None, None),
    }
}
