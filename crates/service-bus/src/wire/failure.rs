//! What the AMQP library and the broker report, as our own kinds of error.

use std::fmt::Display;

use fe2o3_amqp::connection::{ConnectionStopReason, Error as ConnectionError, OpenError};
use fe2o3_amqp::link::{
    DetachError, LinkStateError, ReceiverAttachError, RecvError, SendError, SenderAttachError,
    SessionStopReason,
};
use fe2o3_amqp::session::BeginError;
use fe2o3_amqp_types::definitions::{Error as AmqpError, ErrorCondition};
use fe2o3_amqp_types::messaging::{DeliveryState, Outcome};
use serde_amqp::primitives::Symbol;

use crate::error::ErrorKind;

/// The broker's own error.
pub(crate) fn refused(error: AmqpError) -> ErrorKind {
    let condition = match error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(&condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(&condition),
        ErrorCondition::SessionError(condition) => Symbol::from(&condition),
        ErrorCondition::LinkError(condition) => Symbol::from(&condition),
        ErrorCondition::Custom(condition) => condition,
    };
    ErrorKind::Refused {
        condition: condition.0,
        description: error.description.unwrap_or_default(),
    }
}

/// A failure below the level of the broker's answers.
pub(crate) fn lost(what: impl Display) -> ErrorKind {
    ErrorKind::Connection(what.to_string())
}

/// What the broker made of a message we sent: anything but `accepted` is a failure.
pub(crate) fn of_outcome(outcome: Outcome) -> Result<(), ErrorKind> {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Rejected(rejected) => Err(rejected.error.map_or_else(
            || ErrorKind::Protocol("rejected without a reason".into()),
            refused,
        )),
        Outcome::Released(_) => Err(lost("the message was released")),
        Outcome::Modified(_) => Err(lost("the message was handed back")),
    }
}

/// What the broker made of a settlement. It answers with the state it was sent, so that `rejected`
/// is a success for a dead-lettered message; only an error in it says that it refused.
pub(crate) fn of_settlement(state: Option<DeliveryState>) -> Result<(), ErrorKind> {
    match state {
        Some(DeliveryState::Rejected(rejected)) => {
            rejected.error.map_or(Ok(()), |error| Err(refused(error)))
        }
        _ => Ok(()),
    }
}

pub(crate) fn of_open(error: OpenError) -> ErrorKind {
    match error {
        OpenError::RemoteClosedWithError(error) => refused(error),
        error => lost(error),
    }
}

pub(crate) fn of_connection(error: ConnectionError) -> ErrorKind {
    match error {
        ConnectionError::RemoteClosedWithError(error) => refused(error),
        error => lost(error),
    }
}

pub(crate) fn of_begin(error: BeginError) -> ErrorKind {
    match error {
        BeginError::RemoteEndedWithError(error) => refused(error),
        BeginError::ConnectionStopped(reason) => of_connection_stop(reason),
        error => lost(error),
    }
}

pub(crate) fn of_sender_attach(error: SenderAttachError) -> ErrorKind {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => refused(error),
        SenderAttachError::SessionStopped(reason) => of_session_stop(reason),
        error => lost(error),
    }
}

pub(crate) fn of_receiver_attach(error: ReceiverAttachError) -> ErrorKind {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => refused(error),
        ReceiverAttachError::SessionStopped(reason) => of_session_stop(reason),
        error => lost(error),
    }
}

pub(crate) fn of_detach(error: DetachError) -> ErrorKind {
    of_link_state(error.into())
}

pub(crate) fn of_link_state(error: LinkStateError) -> ErrorKind {
    match error {
        LinkStateError::RemoteDetachedWithError(error)
        | LinkStateError::RemoteClosedWithError(error) => refused(error),
        LinkStateError::SessionStopped(reason) => of_session_stop(reason),
        error => lost(error),
    }
}

pub(crate) fn of_send(error: SendError) -> ErrorKind {
    match error {
        SendError::LinkStateError(error) => of_link_state(error),
        SendError::Detached(error) => of_detach(error),
        SendError::MessageSizeExceeded(exceeded) => ErrorKind::Refused {
            condition: "amqp:link:message-size-exceeded".into(),
            description: format!(
                "the message has {} bytes, the entity takes {}",
                exceeded.size, exceeded.max_size
            ),
        },
        SendError::MessageEncodeError => ErrorKind::Invalid("the message cannot be encoded".into()),
        error => ErrorKind::Protocol(error.to_string()),
    }
}

pub(crate) fn of_receive(error: RecvError) -> ErrorKind {
    match error {
        RecvError::LinkStateError(error) => of_link_state(error),
        error => lost(error),
    }
}

fn of_session_stop(reason: SessionStopReason) -> ErrorKind {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => refused(error),
        SessionStopReason::ConnectionStopped(reason) => of_connection_stop(reason),
        SessionStopReason::EndedWithError(error) => lost(error),
        SessionStopReason::Ended | SessionStopReason::RemoteEnded => lost("the session ended"),
    }
}

fn of_connection_stop(reason: ConnectionStopReason) -> ErrorKind {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) => refused(error),
        _ => lost("the connection was closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use fe2o3_amqp_types::definitions::{ConnectionError as Forced, LinkError};
    use fe2o3_amqp_types::messaging::Rejected;

    fn error(condition: impl Into<ErrorCondition>) -> AmqpError {
        AmqpError::new(condition, None, None)
    }

    #[test]
    fn an_idle_detach_and_a_forced_close_may_pass() {
        let detached = of_send(SendError::LinkStateError(
            LinkStateError::RemoteDetachedWithError(error(LinkError::DetachForced)),
        ));
        let closed = of_begin(BeginError::ConnectionStopped(
            ConnectionStopReason::RemoteClosedWithError(error(Forced::ConnectionForced)),
        ));
        for (kind, condition) in [
            (detached, "amqp:link:detach-forced"),
            (closed, "amqp:connection:forced"),
        ] {
            assert_eq!(kind.class(), ErrorClass::Transient);
            assert!(kind.to_string().starts_with(condition), "{kind}");
        }
    }

    #[test]
    fn a_rejection_is_a_failure_of_a_send_and_an_answer_to_a_settlement() {
        let lock_lost = Rejected {
            error: Some(error(ErrorCondition::Custom(
                "com.microsoft:message-lock-lost".into(),
            ))),
        };
        let bare = Rejected { error: None };
        assert!(of_outcome(Outcome::Rejected(bare.clone())).is_err());
        assert!(of_settlement(Some(DeliveryState::Rejected(bare))).is_ok());
        let refused = of_settlement(Some(DeliveryState::Rejected(lock_lost))).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::LockLost);
    }
}
