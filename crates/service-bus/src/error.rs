//! What can go wrong, and what kind of wrong it is.
//!
//! [`Error`] says which operation on which entity failed; [`ErrorKind`] says why; [`ErrorClass`] says
//! what a caller can do about it. The classes follow Microsoft's page "AMQP errors in Azure Service
//! Bus" and the retry tables of the official SDKs.

use std::sync::Arc;
use std::time::Duration;

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {entity}: {kind}")]
pub struct Error {
    operation: &'static str,
    entity: String,
    kind: Box<ErrorKind>,
}

/// Why an operation failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The broker refused.
    #[error("{condition}: {description}")]
    Refused {
        /// The AMQP error condition, such as `com.microsoft:message-lock-lost`.
        condition: String,
        /// The broker's words.
        description: String,
    },
    /// The deadline passed. What was asked may or may not have happened.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// There is no connection, or it broke.
    #[error("connection: {0}")]
    Connection(String),
    /// The credential did not give a token.
    #[error("no token: {0}")]
    Credential(Arc<dyn std::error::Error + Send + Sync>),
    /// The call itself is wrong; nothing was sent.
    #[error("{0}")]
    Invalid(String),
    /// The broker answered something that cannot be understood.
    #[error("unexpected answer: {0}")]
    Protocol(String),
    /// The link that held a session is gone, and the session with it: accept it again.
    #[error("the session is lost with its link: {0}")]
    SessionLost(String),
    /// [`Client::close`](crate::Client::close) was called before.
    #[error("the client is closed")]
    Closed,
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// It may pass: try again later. The client itself has already tried a few times.
    Transient,
    /// The broker is busy: try again, not before some seconds.
    Throttled,
    /// The message is no longer ours: the lock expired, or it was settled before.
    LockLost,
    /// The session is no longer held: its lock expired, or its link was lost. Accept it again.
    SessionLost,
    /// No such entity, or no such message.
    NotFound,
    /// The credential is not accepted for this.
    Unauthorized,
    /// The message or batch is larger than the entity takes.
    TooLarge,
    /// Trying again will not help.
    Permanent,
}

impl Error {
    /// An error of an operation on an entity.
    pub fn new(operation: &'static str, entity: impl Into<String>, kind: ErrorKind) -> Self {
        Self {
            operation,
            entity: entity.into(),
            kind: Box::new(kind),
        }
    }

    /// The operation that failed, such as `send to`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The entity it failed on.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// Why it failed.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What a caller can do about it.
    pub fn class(&self) -> ErrorClass {
        self.kind.class()
    }

    /// The AMQP error condition the broker gave, if it was the broker that refused.
    pub fn condition(&self) -> Option<&str> {
        match self.kind.as_ref() {
            ErrorKind::Refused { condition, .. } => Some(condition),
            _ => None,
        }
    }
}

impl ErrorKind {
    /// What a caller can do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            ErrorKind::Refused { condition, .. } => class_of_condition(condition),
            ErrorKind::TimedOut(_) | ErrorKind::Connection(_) | ErrorKind::Credential(_) => {
                ErrorClass::Transient
            }
            ErrorKind::SessionLost(_) => ErrorClass::SessionLost,
            ErrorKind::Invalid(_) | ErrorKind::Protocol(_) | ErrorKind::Closed => {
                ErrorClass::Permanent
            }
        }
    }
}

fn class_of_condition(condition: &str) -> ErrorClass {
    match condition {
        "com.microsoft:server-busy" => ErrorClass::Throttled,
        "com.microsoft:message-lock-lost" => ErrorClass::LockLost,
        "com.microsoft:session-lock-lost" => ErrorClass::SessionLost,
        "amqp:not-found" | "com.microsoft:message-not-found" => ErrorClass::NotFound,
        "amqp:unauthorized-access" | "com.microsoft:auth-failed" => ErrorClass::Unauthorized,
        "amqp:link:message-size-exceeded" => ErrorClass::TooLarge,
        // A full queue drains, and a session held by another receiver is let go.
        "com.microsoft:timeout"
        | "com.microsoft:operation-cancelled"
        | "com.microsoft:session-cannot-be-locked"
        | "amqp:internal-error"
        | "amqp:resource-limit-exceeded"
        | "amqp:link:detach-forced"
        | "amqp:link:stolen"
        | "amqp:connection:forced"
        | "amqp:connection:framing-error"
        | "amqp:connection:redirect" => ErrorClass::Transient,
        _ => ErrorClass::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(condition: &str) -> Error {
        Error::new(
            "send to",
            "orders",
            ErrorKind::Refused {
                condition: condition.into(),
                description: "the broker's words".into(),
            },
        )
    }

    #[test]
    fn each_known_condition_has_its_class() {
        use ErrorClass::*;
        for (condition, class) in [
            ("com.microsoft:timeout", Transient),
            ("com.microsoft:message-lock-lost", LockLost),
            ("com.microsoft:session-lock-lost", SessionLost),
            ("com.microsoft:session-cannot-be-locked", Transient),
            ("com.microsoft:server-busy", Throttled),
            ("com.microsoft:message-not-found", NotFound),
            ("com.microsoft:auth-failed", Unauthorized),
            ("amqp:unauthorized-access", Unauthorized),
            ("amqp:not-found", NotFound),
            ("amqp:not-allowed", Permanent),
            ("com.microsoft:entity-disabled", Permanent),
            ("com.microsoft:argument-error", Permanent),
            ("com.microsoft:argument-out-of-range", Permanent),
            ("com.microsoft:entity-already-exists", Permanent),
            ("com.microsoft:precondition-failed", Permanent),
            ("amqp:resource-limit-exceeded", Transient),
            ("amqp:link:message-size-exceeded", TooLarge),
            ("amqp:link:detach-forced", Transient),
            ("amqp:connection:forced", Transient),
            ("amqp:internal-error", Transient),
        ] {
            assert_eq!(refused(condition).class(), class, "{condition}");
        }
    }

    #[test]
    fn the_message_names_operation_and_entity() {
        assert_eq!(
            refused("amqp:not-found").to_string(),
            "cannot send to orders: amqp:not-found: the broker's words"
        );
        assert_eq!(
            refused("amqp:not-found").condition(),
            Some("amqp:not-found")
        );
    }

    #[test]
    fn what_never_reached_the_broker_and_may_pass_is_transient() {
        let timed_out = ErrorKind::TimedOut(Duration::from_secs(30));
        assert_eq!(timed_out.class(), ErrorClass::Transient);
        assert_eq!(
            ErrorKind::Connection("reset".into()).class(),
            ErrorClass::Transient
        );
        assert_eq!(
            ErrorKind::Invalid("no time".into()).class(),
            ErrorClass::Permanent
        );
    }
}
