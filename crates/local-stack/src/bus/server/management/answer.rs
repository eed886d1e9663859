//! The answer to a management request: a status, and on success a body.

use std::borrow::Cow;

use fe2o3_amqp_types::definitions::Error;
use serde_amqp::Value;

use crate::bus::filter::{RuleError, RuleSetError};
use crate::bus::queue::NoSuchMessage;
use crate::bus::queue::session_requests::SessionError;
use crate::bus::queue::settle::SettleError;
use crate::bus::server::accept::SESSION_LOCK_LOST;
use crate::bus::server::disposition::LOCK_LOST;
use crate::bus::wire::Malformed;
use crate::bus::wire::values::{self, Map, symbol};

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
    condition: Cow<'static, str>,
    description: String,
}

impl Refusal {
    /// An AMQP error as a refusal.
    pub(super) fn of(status: i32, reason: &Error) -> Self {
        let condition = serde_amqp::to_value(&reason.condition).ok();
        let condition = condition.as_ref().and_then(values::text);
        Refusal {
            status,
            condition: condition.unwrap_or_default().to_owned().into(),
            description: reason.description.clone().unwrap_or_default(),
        }
    }

    pub(super) fn bad_argument(description: impl Into<String>) -> Self {
        let description = description.into();
        Refusal {
            status: 400,
            condition: "com.microsoft:argument-error".into(),
            description,
        }
    }

    pub(super) fn not_implemented(operation: &str) -> Self {
        Refusal {
            status: 501,
            condition: "amqp:not-implemented".into(),
            description: format!("the operation '{operation}' is not supported by this broker"),
        }
    }

    pub(super) fn not_allowed(description: impl Into<String>) -> Self {
        let description = description.into();
        Refusal {
            status: 400,
            condition: "amqp:not-allowed".into(),
            description,
        }
    }

    pub(super) fn into_parts(self) -> (Map, Map) {
        let mut properties = status(self.status, &self.description);
        properties.insert(
            Value::String("errorCondition".into()),
            symbol(&self.condition),
        );
        (properties, Map::new())
    }
}

impl From<SettleError> for Refusal {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::LockLost => Refusal {
                status: 410,
                condition: LOCK_LOST.into(),
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
            condition: SESSION_LOCK_LOST.into(),
            description: error.to_string(),
        }
    }
}

impl From<NoSuchMessage> for Refusal {
    fn from(error: NoSuchMessage) -> Self {
        Refusal {
            status: 404,
            condition: "com.microsoft:message-not-found".into(),
            description: error.to_string(),
        }
    }
}

impl From<RuleError> for Refusal {
    fn from(error: RuleError) -> Self {
        Refusal::bad_argument(error.to_string())
    }
}

impl From<RuleSetError> for Refusal {
    fn from(error: RuleSetError) -> Self {
        let (status, condition) = match error {
            RuleSetError::AlreadyExists(_) => (409, "com.microsoft:entity-already-exists"),
            RuleSetError::NotFound(_) => (404, "amqp:not-found"),
        };
        Refusal {
            status,
            condition: condition.into(),
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
