//! A message as the broker keeps it: raw section bytes, and the few fields the broker acts on.
//!
//! Properties, application properties and body go out as they came in, byte for byte. Only the
//! header and the annotations are written anew for each delivery, the application properties when a
//! settlement changes them, and the properties once, when the sender gave no message id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_amqp::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::departures::Journey;
use crate::bus::wire::Malformed;
use crate::bus::wire::section::{self, Sections};
use crate::bus::wire::values::{self, Map};

/// `message-format` of a batch: the body is a list of data sections, each a whole message
/// (Azure.Messaging.ServiceBus, `AmqpConstants.AmqpBatchedMessageFormat`).
pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;

/// Annotations that only the service sets; a sender's own values for them are dropped.
const SERVICE_ANNOTATIONS: [&str; 7] = [
    "x-opt-enqueued-time",
    "x-opt-sequence-number",
    "x-opt-enqueue-sequence-number",
    "x-opt-locked-until",
    "x-opt-message-state",
    "x-opt-deadletter-source",
    "x-opt-lock-token",
];
const SCHEDULED_ENQUEUE_TIME: &str = "x-opt-scheduled-enqueue-time";

/// Positions in the properties section (OASIS AMQP 1.0, part 3.2.4).
pub(crate) const MESSAGE_ID: usize = 0;
pub(crate) const SUBJECT: usize = 3;
pub(crate) const CORRELATION_ID: usize = 5;
pub(crate) const CONTENT_TYPE: usize = 6;
pub(crate) const GROUP_ID: usize = 10;

/// One message, cheap to clone: the bytes are shared.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) durable: bool,
    pub(crate) priority: u8,
    /// Time to live as the sender asked for it.
    pub(crate) ttl: Option<Duration>,
    /// The sender's annotations, with symbol keys, without those the service owns.
    pub(crate) annotations: Arc<Map>,
    /// Encoded properties section; always holds a message id.
    pub(crate) properties: Bytes,
    /// Encoded application-properties section, or empty.
    pub(crate) application_properties: Bytes,
    /// Encoded body sections and footer.
    pub(crate) body: Bytes,
    /// The message id as text, as duplicate detection compares it.
    pub(crate) id: Arc<str>,
    /// The session it belongs to: its group-id. Of meaning only on an entity with sessions.
    pub(crate) session: Option<Arc<str>>,
    /// When the message is to become receivable, if it was scheduled by annotation.
    pub(crate) scheduled_for: Option<OffsetDateTime>,
    pub(crate) journey: Journey,
}

impl Message {
    /// Reads one encoded message. `fresh_id` serves messages that came without a message id.
    ///
    /// # Errors
    /// When a section is malformed.
    pub(crate) fn parse(
        bytes: &Bytes,
        fresh_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Self, Malformed> {
        let Sections {
            header,
            message_annotations,
            properties,
            application_properties,
            body,
        } = section::split(bytes)?;
        let (durable, priority, ttl) = read_header(&header)?;
        let mut annotations = Map::new();
        if !message_annotations.is_empty() {
            for (key, value) in values::section_map(&message_annotations)? {
                let Some(name) = values::text(&key) else {
                    continue;
                };
                if !SERVICE_ANNOTATIONS.contains(&name) {
                    annotations.insert(values::symbol(name), value);
                }
            }
        }
        if !application_properties.is_empty() {
            values::section_map(&application_properties)?;
        }
        let scheduled_for =
            values::get(&annotations, SCHEDULED_ENQUEUE_TIME).and_then(values::moment);
        let Properties {
            id,
            session,
            section: properties,
        } = read_properties(properties, fresh_id)?;
        Ok(Message {
            durable,
            priority,
            ttl,
            annotations: Arc::new(annotations),
            properties,
            application_properties,
            body,
            id,
            session,
            scheduled_for,
            journey: Journey::default(),
        })
    }

    /// Reads a transfer's payload: one message, or for the batch format all messages inside it.
    ///
    /// # Errors
    /// When any of them is malformed; none is returned then.
    pub(crate) fn parse_transfer(
        format: u32,
        bytes: &Bytes,
        fresh_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Vec<Self>, Malformed> {
        if format != BATCH_FORMAT {
            return Ok(vec![Message::parse(bytes, fresh_id)?]);
        }
        let envelope = section::split(bytes)?;
        let mut messages = Vec::new();
        for section in section::iter(&envelope.body) {
            let (code, section) = section?;
            if code != section::DATA {
                return Err("batch that holds something else than data sections".into());
            }
            messages.push(Message::parse(&section::data(&section)?, fresh_id)?);
        }
        if messages.is_empty() {
            return Err("batch without messages".into());
        }
        Ok(messages)
    }

    /// Bytes it takes up; header and annotations are not counted.
    pub(crate) fn size(&self) -> u64 {
        (self.properties.len() + self.application_properties.len() + self.body.len()) as u64
    }

    /// The fields of the properties section by position.
    pub(crate) fn property_fields(&self) -> Vec<Value> {
        match values::section_value(&self.properties) {
            Ok(Value::List(fields)) => fields,
            _ => Vec::new(),
        }
    }

    /// The application properties, decoded.
    pub(crate) fn application_property_map(&self) -> Map {
        if self.application_properties.is_empty() {
            return Map::new();
        }
        // Checked when the message came in.
        values::section_map(&self.application_properties).unwrap_or_default()
    }

    /// Sets application properties, as abandon, defer and dead-letter may ask for.
    pub(crate) fn set_application_properties(&mut self, changes: &[(String, Value)]) {
        if changes.is_empty() {
            return;
        }
        let mut map = self.application_property_map();
        for (name, value) in changes {
            map.insert(Value::String(name.clone()), value.clone());
        }
        // Encoding values that were decoded before cannot fail; if it did, the message would keep
        // its old properties.
        if let Ok(bytes) = values::section(section::APPLICATION_PROPERTIES, Value::Map(map)) {
            self.application_properties = Bytes::from(bytes);
        }
    }
}

/// An identifier (message id, correlation id) as text, whatever its AMQP type.
pub(crate) fn identifier(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Symbol(symbol) => Some(symbol.as_str().to_owned()),
        Value::Ulong(number) => Some(number.to_string()),
        Value::Uuid(id) => Some(Uuid::from_bytes(*id.as_inner()).to_string()),
        Value::Binary(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        _ => None,
    }
}

fn read_header(header: &Bytes) -> Result<(bool, u8, Option<Duration>), Malformed> {
    if header.is_empty() {
        return Ok((false, 4, None));
    }
    let Value::List(fields) = values::section_value(header)? else {
        return Err("header that is not a list".into());
    };
    let durable = matches!(fields.first(), Some(Value::Bool(true)));
    let priority = fields
        .get(1)
        .and_then(values::integer)
        .and_then(|n| u8::try_from(n).ok());
    let ttl = fields
        .get(2)
        .and_then(values::integer)
        .and_then(|ms| u64::try_from(ms).ok());
    Ok((
        durable,
        priority.unwrap_or(4),
        ttl.map(Duration::from_millis),
    ))
}

/// The session a message with these properties belongs to; an empty name is none.
pub(crate) fn session(fields: &[Value]) -> Option<Arc<str>> {
    let name = fields.get(GROUP_ID).and_then(values::text);
    name.filter(|name| !name.is_empty()).map(Arc::from)
}

/// What the broker needs of a message's properties.
struct Properties {
    id: Arc<str>,
    session: Option<Arc<str>>,
    /// The section, with a message id in it.
    section: Bytes,
}

fn read_properties(
    section: Bytes,
    fresh_id: &mut dyn FnMut() -> Uuid,
) -> Result<Properties, Malformed> {
    let mut fields = if section.is_empty() {
        Vec::new()
    } else {
        match values::section_value(&section)? {
            Value::List(fields) => fields,
            _ => return Err("properties that are not a list".into()),
        }
    };
    let session = session(&fields);
    if let Some(id) = fields.get(MESSAGE_ID).and_then(identifier) {
        return Ok(Properties {
            id: id.into(),
            session,
            section,
        });
    }
    let id = fresh_id().simple().to_string();
    if fields.is_empty() {
        fields.push(Value::Null);
    }
    fields[MESSAGE_ID] = Value::String(id.clone());
    let section = values::section(section::PROPERTIES, Value::List(fields))?;
    Ok(Properties {
        id: id.into(),
        session,
        section: Bytes::from(section),
    })
}
