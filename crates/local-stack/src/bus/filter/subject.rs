//! The message a rule looks at and an action changes: its properties, decoded once.

use serde_amqp::Value;
use time::OffsetDateTime;

use super::ast::Property;
use super::error::EvaluationError;
use super::value::Scalar;
use crate::bus::queue::message::{
    self, CONTENT_TYPE, CORRELATION_ID, GROUP_ID, MESSAGE_ID, Message, SUBJECT, identifier,
};
use crate::bus::wire::section;
use crate::bus::wire::values::{self, Map};

/// Positions in the properties section (OASIS AMQP 1.0, part 3.2.4).
const TO: usize = 2;
const REPLY_TO: usize = 4;
const REPLY_TO_GROUP_ID: usize = 12;

/// System properties that hold text, by their names in .NET's message classes, in lower case.
/// `Label` is what `Subject` was called before.
const TEXTS: [(&str, usize); 9] = [
    ("messageid", MESSAGE_ID),
    ("to", TO),
    ("label", SUBJECT),
    ("subject", SUBJECT),
    ("replyto", REPLY_TO),
    ("correlationid", CORRELATION_ID),
    ("contenttype", CONTENT_TYPE),
    ("sessionid", GROUP_ID),
    ("replytosessionid", REPLY_TO_GROUP_ID),
];

/// A message under evaluation.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    message: Message,
    sequence: i64,
    enqueued_at: OffsetDateTime,
    fields: Vec<Value>,
    properties: Map,
}

impl Subject {
    pub(crate) fn new(message: Message, sequence: i64, enqueued_at: OffsetDateTime) -> Self {
        Subject {
            fields: message.property_fields(),
            properties: message.application_property_map(),
            message,
            sequence,
            enqueued_at,
        }
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// A property's value; unknown if it is absent or null.
    pub(super) fn get(&self, property: &Property) -> Result<Option<Scalar>, EvaluationError> {
        match property {
            Property::User(name) => Ok(self.user(name).and_then(Scalar::of)),
            Property::System(name) => self.system(name),
        }
    }

    /// Whether there is such a property, be its value null.
    pub(super) fn has(&self, property: &Property) -> Result<bool, EvaluationError> {
        match property {
            Property::User(name) => Ok(self.user(name).is_some()),
            Property::System(name) => Ok(self.system(name)?.is_some()),
        }
    }

    /// An application property as it was sent. Names are compared without regard to case.
    pub(super) fn user(&self, name: &str) -> Option<&Value> {
        self.properties.get(&self.user_key(name)?)
    }

    /// A text among the system properties.
    pub(super) fn text_field(&self, position: usize) -> Option<String> {
        self.fields.get(position).and_then(identifier)
    }

    fn system(&self, name: &str) -> Result<Option<Scalar>, EvaluationError> {
        let lower = name.to_lowercase();
        if let Some((_, position)) = TEXTS.iter().find(|(known, _)| *known == lower) {
            return Ok(self.text_field(*position).map(Scalar::Text));
        }
        let annotation = |name: &str| {
            values::get(&self.message.annotations, name)
                .and_then(values::text)
                .map(|text| Scalar::Text(text.to_owned()))
        };
        Ok(match lower.as_str() {
            "partitionkey" => annotation("x-opt-partition-key"),
            "viapartitionkey" | "transactionpartitionkey" => annotation("x-opt-via-partition-key"),
            "sequencenumber" | "enqueuedsequencenumber" => Some(Scalar::Int(self.sequence)),
            "enqueuedtimeutc" => Some(Scalar::Moment(self.enqueued_at)),
            "scheduledenqueuetimeutc" => self.message.scheduled_for.map(Scalar::Moment),
            "deliverycount" => Some(Scalar::Int(0)),
            _ => return Err(EvaluationError::NoSuchSystemProperty(name.to_owned())),
        })
    }

    /// Sets a property. One that exists keeps its type where the new value allows it.
    pub(super) fn set(
        &mut self,
        property: &Property,
        value: Option<Scalar>,
    ) -> Result<(), EvaluationError> {
        match property {
            Property::User(name) => {
                let key = self
                    .user_key(name)
                    .unwrap_or_else(|| Value::String(name.clone()));
                let value = value.map_or(Value::Null, |value| {
                    converted(self.properties.get(&key), &value)
                });
                self.properties.insert(key, value);
                Ok(())
            }
            Property::System(name) => {
                let text = match value {
                    None => None,
                    Some(value) => Some(
                        value
                            .to_text()
                            .ok_or_else(|| EvaluationError::ReadOnly(name.clone()))?,
                    ),
                };
                self.set_system(name, text)
            }
        }
    }

    /// Takes a property away.
    pub(super) fn remove(&mut self, property: &Property) -> Result<(), EvaluationError> {
        match property {
            Property::User(name) => {
                if let Some(key) = self.user_key(name) {
                    self.properties = std::mem::take(&mut self.properties)
                        .into_iter()
                        .filter(|(known, _)| *known != key)
                        .collect();
                }
                Ok(())
            }
            Property::System(name) => self.set_system(name, None),
        }
    }

    /// The message with the changed properties.
    ///
    /// # Errors
    /// When a value of the sender cannot be encoded again.
    pub(super) fn into_message(self) -> Result<Message, EvaluationError> {
        let failed =
            |error: crate::bus::wire::Malformed| EvaluationError::Encoding(error.to_string());
        let mut message = self.message;
        if let Some(id) = self.fields.get(MESSAGE_ID).and_then(identifier) {
            message.id = id.into();
        }
        message.session = message::session(&self.fields);
        message.properties = values::section(section::PROPERTIES, Value::List(self.fields))
            .map_err(failed)?
            .into();
        message.application_properties =
            values::section(section::APPLICATION_PROPERTIES, Value::Map(self.properties))
                .map_err(failed)?
                .into();
        Ok(message)
    }

    fn set_system(&mut self, name: &str, text: Option<String>) -> Result<(), EvaluationError> {
        let lower = name.to_lowercase();
        let Some((_, position)) = TEXTS.iter().find(|(known, _)| *known == lower) else {
            // Either there is none of that name, which says so, or it is the broker's own.
            self.system(name)?;
            return Err(EvaluationError::ReadOnly(name.to_owned()));
        };
        if *position == MESSAGE_ID && text.is_none() {
            return Err(EvaluationError::ReadOnly(name.to_owned()));
        }
        if self.fields.len() <= *position {
            self.fields.resize(position + 1, Value::Null);
        }
        self.fields[*position] = text.map_or(Value::Null, Value::String);
        Ok(())
    }

    fn user_key(&self, name: &str) -> Option<Value> {
        let exact = Value::String(name.to_owned());
        if self.properties.contains_key(&exact) {
            return Some(exact);
        }
        let lower = name.to_lowercase();
        self.properties
            .iter()
            .map(|(key, _)| key)
            .find(|key| values::text(key).is_some_and(|key| key.to_lowercase() == lower))
            .cloned()
    }
}

/// `value` in the type `before` has, if it fits.
fn converted(before: Option<&Value>, value: &Scalar) -> Value {
    let kept = match (before, value) {
        (Some(Value::Int(_)), Scalar::Int(number)) => i32::try_from(*number).ok().map(Value::Int),
        (Some(Value::Uint(_)), Scalar::Int(number)) => u32::try_from(*number).ok().map(Value::Uint),
        (Some(Value::Short(_)), Scalar::Int(number)) => {
            i16::try_from(*number).ok().map(Value::Short)
        }
        (Some(Value::Byte(_)), Scalar::Int(number)) => i8::try_from(*number).ok().map(Value::Byte),
        (Some(Value::Ubyte(_)), Scalar::Int(number)) => {
            u8::try_from(*number).ok().map(Value::Ubyte)
        }
        (Some(Value::Ushort(_)), Scalar::Int(number)) => {
            u16::try_from(*number).ok().map(Value::Ushort)
        }
        (Some(Value::Ulong(_)), Scalar::Int(number)) => {
            u64::try_from(*number).ok().map(Value::Ulong)
        }
        #[expect(clippy::cast_precision_loss, reason = "as C# converts")]
        (Some(Value::Double(_)), Scalar::Int(number)) => {
            Some(Value::Double((*number as f64).into()))
        }
        (Some(Value::String(_)), value) => value.to_text().map(Value::String),
        (Some(Value::Int(_)), Scalar::Text(text)) => text.parse().ok().map(Value::Int),
        (Some(Value::Long(_)), Scalar::Text(text)) => text.parse().ok().map(Value::Long),
        _ => None,
    };
    kept.unwrap_or_else(|| value.to_value())
}
