//! How far an error reaches: one link, one session, or the connection.

use fe2o3_amqp_types::definitions::{
    AmqpError, ConnectionError, Error, ErrorCondition, Fields, LinkError, SessionError,
};
use serde_amqp::primitives::Symbol;

use super::entity::Entity;
use crate::bus::queue::QueueFull;
use crate::bus::wire::Malformed;

/// Why a message without a session is not taken. In the service's words, which users search for.
pub(super) const NO_SESSION_ID: &str = "The SessionId was not set on a message, and it cannot be sent to the entity. Entities that \
     have session support enabled can only receive messages that have the SessionId set to a valid \
     value.";

/// An error that ends more than the operation it occurred in.
#[derive(Debug)]
pub(super) enum Failure {
    /// Closes the connection.
    Connection(Error),
    /// Ends the session.
    Session(Error),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Failure::Connection(error(AmqpError::DecodeError, malformed.to_string()))
    }
}

/// An AMQP error whose info is empty, but there: azure-servicebus for Python reads the third field of
/// every error on a closed connection or a rejected message, and hangs when it was left out.
pub(super) fn error(condition: impl Into<ErrorCondition>, description: impl Into<String>) -> Error {
    Error::new(condition, Some(description.into()), Some(Fields::default()))
}

/// An error with one of Service Bus's own conditions, `com.microsoft:…`.
pub(super) fn custom(condition: &str, description: impl Into<String>) -> Error {
    error(ErrorCondition::Custom(Symbol::from(condition)), description)
}

pub(super) fn connection_forced(description: &str) -> Error {
    error(ConnectionError::ConnectionForced, description)
}

pub(super) fn unattached_handle(handle: u32) -> Failure {
    let text = format!("no link is attached to handle {handle}");
    Failure::Session(error(SessionError::UnattachedHandle, text))
}

/// In the service's words, which users search for.
pub(super) fn message_too_large(delivery_id: u32, size: usize, limit: usize) -> Error {
    let text = format!(
        "The received message (delivery-id:{delivery_id}, size:{size} bytes) exceeds the limit \
         ({limit} bytes) currently allowed on the link."
    );
    error(LinkError::MessageSizeExceeded, text)
}

pub(super) fn queue_full(entity: &Entity, full: &QueueFull) -> Error {
    error(AmqpError::ResourceLimitExceeded, full_text(entity, full))
}

/// In the service's words.
pub(super) fn full_text(entity: &Entity, full: &QueueFull) -> String {
    let kind = if entity.is_topic() { "Topic" } else { "Queue" };
    format!(
        "The maximum entity size has been reached or exceeded for {kind}: '{}'. Size of entity in \
         bytes:{}, Max entity size in bytes: {}. QuotaType: EntitySize (QuotaExceeded).",
        entity.name, full.size, full.limit
    )
}

pub(super) fn no_such_entity(name: &str) -> Error {
    error(
        AmqpError::NotFound,
        format!("The messaging entity '{name}' could not be found."),
    )
}
