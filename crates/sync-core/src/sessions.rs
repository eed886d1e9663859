//! A session per row, as an option: the broker then gives the notifications of a row to one receiver at
//! a time, in order.
//!
//! It costs the settlement by lock token: the lock of a session's message belongs to the link that holds
//! the session. What would be dead-lettered is sent to a queue of its own instead.

use service_bus::{OutgoingMessage, Properties};

use crate::message::{DEAD_LETTER_DESCRIPTION, DEAD_LETTER_REASON, Message};
use crate::snapshot::RowKey;

/// Broker `SessionId` of everything about a row: `{table}:{rowId}`.
#[must_use]
pub fn session_id(row: &RowKey) -> String {
    row.to_string()
}

/// The copy of a given-up message for the queue of rejected ones: the message, and as application
/// properties what its dead letter would carry. Sent back to its queue, it is a resent dead letter.
pub(crate) fn rejected_copy(
    message: &Message,
    reason: &str,
    description: &str,
    explained: Properties,
) -> OutgoingMessage {
    let mut properties = message.properties.clone();
    properties.extend(explained);
    properties.insert(DEAD_LETTER_REASON.into(), reason.into());
    properties.insert(DEAD_LETTER_DESCRIPTION.into(), description.into());
    OutgoingMessage {
        body: message.body.clone(),
        message_id: Some(message.derived_id("rejected").to_string()),
        correlation_id: message.correlation_id.clone(),
        session_id: message.session_id.clone(),
        content_type: message.content_type.clone(),
        subject: message.subject.clone(),
        properties,
        ..OutgoingMessage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_copy_says_why_and_goes_back_as_a_resent_dead_letter() {
        let message = Message {
            session_id: Some("account:1".into()),
            ..crate::message::tests::message("x")
        };
        let explained = Properties::from([("FailureCode".to_owned(), "Target422".into())]);
        let copy = rejected_copy(&message, "Target422", "Refused. Repair it.", explained);
        assert_eq!(copy.body, message.body);
        assert_eq!(copy.session_id, message.session_id);
        assert_eq!(copy.properties["DeadLetterReason"], "Target422".into());
        assert_eq!(copy.properties["FailureCode"], "Target422".into());
        assert_eq!(
            copy.properties["DeadLetterErrorDescription"],
            "Refused. Repair it.".into()
        );
        let resent = Message {
            properties: copy.properties,
            ..message
        };
        assert!(resent.is_resent() && !resent.is_first_attempt());
    }
}
