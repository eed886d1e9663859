//! Requests to `$cbs` and `$management`, and the answers to them, as AMQP messages.

use std::time::Duration;

use bytes::Bytes;
use serde_amqp::Value;

use super::address::Address;
use crate::bus::queue::message::MESSAGE_ID;
use crate::bus::wire::Malformed;
use crate::bus::wire::section;
use crate::bus::wire::values::{self, Map};

/// Positions in the properties section (OASIS AMQP 1.0, part 3.2.4).
const TO: usize = 2;
const REPLY_TO: usize = 4;
const CORRELATION_ID: usize = 5;

/// A decoded request.
#[derive(Debug)]
pub(super) struct Request {
    /// Of whatever type the client uses; the answer repeats it unchanged.
    pub(super) message_id: Value,
    pub(super) reply_to: Option<String>,
    pub(super) properties: Map,
    pub(super) body: Value,
}

/// An answer and the node it comes from. Clients are found by that: azure-servicebus for Python
/// sends no usable reply-to.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) node: Address,
    pub(super) reply_to: Option<String>,
    pub(super) message: Bytes,
    /// How much later than usual it goes out.
    pub(super) delay: Duration,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// When a section is malformed or there is no value in the body.
    pub(super) fn parse(message: &Bytes) -> Result<Self, Malformed> {
        let sections = section::split(message)?;
        let mut fields = match sections.properties.is_empty() {
            true => Vec::new(),
            false => match values::section_value(&sections.properties)? {
                Value::List(fields) => fields,
                _ => return Err("properties that are not a list".into()),
            },
        };
        let reply_to = fields
            .get(REPLY_TO)
            .and_then(values::text)
            .map(str::to_owned);
        let message_id = fields
            .get_mut(MESSAGE_ID)
            .map(std::mem::take)
            .unwrap_or_default();
        let properties = match sections.application_properties.is_empty() {
            true => Map::new(),
            false => values::section_map(&sections.application_properties)?,
        };
        let mut body = Value::Null;
        for section in section::iter(&sections.body) {
            if let (section::VALUE, section) = section? {
                body = values::section_value(&section)?;
            }
        }
        Ok(Request {
            message_id,
            reply_to,
            properties,
            body,
        })
    }

    /// A text among the application properties.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        values::get(&self.properties, name).and_then(values::text)
    }

    /// Encodes the answer to this request.
    pub(super) fn reply(
        &self,
        node: Address,
        properties: Map,
        body: Value,
    ) -> Result<Reply, Malformed> {
        let mut fields = vec![Value::Null; CORRELATION_ID + 1];
        fields[TO] = self.reply_to.clone().map_or(Value::Null, Value::String);
        fields[CORRELATION_ID] = self.message_id.clone();
        let mut message = values::section(section::PROPERTIES, Value::List(fields))?;
        message.extend(values::section(
            section::APPLICATION_PROPERTIES,
            Value::Map(properties),
        )?);
        message.extend(values::section(section::VALUE, body)?);
        Ok(Reply {
            node,
            reply_to: self.reply_to.clone(),
            message: Bytes::from(message),
            delay: Duration::ZERO,
        })
    }
}
