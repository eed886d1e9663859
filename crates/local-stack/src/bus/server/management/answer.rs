//! The answer to a management request: a status, and on success a body.

use serde_amqp::Value;

use crate::bus::queue::NoSuchMessage;
use crate::bus::queue::session_requests::SessionError;
use crate::bus::queue::settle::SettleError;
use crate::bus::server::accept::SESSION_LOCK_LOST;
use crate::bus::server::disposition::LOCK_LOST;
use crate::bus::wire::Malformed;
use crate::bus::wire::values::{Map, symbol};

/// A request that was carried out.
#[derive(Debug)]
pub(super) struct Answer {
    status: i32,
    body: Map,
}

impl Answer {
    pub(super) fn ok() -> Self {
        Answer {
            status: 200,
            body: Map::new(),
        }
    }

    pub(super) fn with(name: &str, value: Value) -> Self {
        Answer::ok().and(name, value)
    }

    pub(super) fn and(mut self, name: &str, value: Value) -> Self {
        self.body.insert(Value::String(name.to_owned()), value);
        self
    }

    /// Carried out, and there was nothing.
    pub(super) fn nothing() -> Self {
        Answer {
            status: 204,
            body: Map::new(),
        }
    }

    pub(super) fn into_parts(self) -> (Map, Map) {
        let description = if self.status == 204 {
            "No Content"
        } else {
            "OK"
        };
        (status(self.status, description), self.body)
    }
}

/// A request that had no effect.
#[derive(Debug)]
pub(super) struct Refusal {
    status: i32,
    condition: &'static str,
    description: String,
}

impl Refusal {
    pub(super) fn bad_argument(description: impl Into<String>) -> Self {
        let description = description.into();
        Refusal {
            status: 400,
            condition: "com.microsoft:argument-error",
            description,
        }
    }

    pub(super) fn not_implemented(operation: &str) -> Self {
        Refusal {
            status: 501,
            condition: "amqp:not-implemented",
            description: format!("the operation '{operation}' is not supported by this broker"),
        }
    }

    pub(super) fn not_allowed(description: impl Into<String>) -> Self {
        let description = description.into();
        Refusal {
            status: 400,
            condition: "amqp:not-allowed",
            description,
        }
    }

    pub(super) fn into_parts(self) -> (Map, Map) {
        let mut properties = status(self.status, &self.description);
        properties.insert(
            Value::String("errorCondition".into()),
            symbol(self.condition),
        );
        (properties, Map::new())
    }
}

impl From<SettleError> for Refusal {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::LockLost => Refusal {
                status: 410,
                condition: LOCK_LOST,
                description: error.to_string(),
            },
            SettleError::AlreadyDead => Refusal::not_allowed(error.to_string()),
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        Refusal {
            status: 410,
            condition: SESSION_LOCK_LOST,
            description: error.to_string(),
        }
    }
}

impl From<NoSuchMessage> for Refusal {
    fn from(error: NoSuchMessage) -> Self {
        Refusal {
            status: 404,
            condition: "com.microsoft:message-not-found",
            description: error.to_string(),
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Refusal::bad_argument(error.to_string())
    }
}

fn status(code: i32, description: &str) -> Map {
    let mut properties = Map::new();
    properties.insert(Value::String("statusCode".into()), Value::Int(code));
    properties.insert(
        Value::String("statusDescription".into()),
        Value::String(description.to_owned()),
    );
    properties
}
