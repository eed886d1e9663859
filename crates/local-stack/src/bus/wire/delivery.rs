//! Encodes a queued message for a receiver: a fresh header and annotations around the bytes that
//! came in.

use bytes::Bytes;
use serde_amqp::Value;

use super::Malformed;
use super::section;
use super::values::{self, symbol, timestamp};
use crate::bus::queue::entry::Entry;

/// The whole encoded message.
///
/// The header always has all five fields: Azure.Messaging.ServiceBus (.NET) throws when
/// `delivery-count` is absent, and serializers that drop trailing defaults would drop it.
///
/// # Errors
/// When an annotation of the sender cannot be encoded again.
pub(crate) fn encode(entry: &Entry) -> Result<Bytes, Malformed> {
    let message = &entry.message;
    let header = header(entry)?;
    let annotations = annotations(entry)?;
    let mut bytes = Vec::with_capacity(
        header.len()
            + annotations.len()
            + message.properties.len()
            + message.application_properties.len()
            + message.body.len(),
    );
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&annotations);
    bytes.extend_from_slice(&message.properties);
    bytes.extend_from_slice(&message.application_properties);
    bytes.extend_from_slice(&message.body);
    Ok(Bytes::from(bytes))
}

fn header(entry: &Entry) -> Result<Vec<u8>, Malformed> {
    // The service hands out the time to live that really applies, its own default included.
    let ttl = match entry.expires_at {
        Some(expires) => u32::try_from((expires - entry.enqueued_at).whole_milliseconds()).ok(),
        None => entry
            .message
            .ttl
            .and_then(|ttl| u32::try_from(ttl.as_millis()).ok()),
    };
    let fields = vec![
        Value::Bool(entry.message.durable),
        Value::Ubyte(entry.message.priority),
        ttl.map_or(Value::Null, Value::Uint),
        Value::Bool(false),
        Value::Uint(entry.delivery_count),
    ];
    values::section(section::HEADER, Value::List(fields))
}

fn annotations(entry: &Entry) -> Result<Vec<u8>, Malformed> {
    let mut map = (*entry.message.annotations).clone();
    map.insert(symbol("x-opt-enqueued-time"), timestamp(entry.enqueued_at));
    map.insert(symbol("x-opt-sequence-number"), Value::Long(entry.sequence));
    map.insert(
        symbol("x-opt-enqueue-sequence-number"),
        Value::Long(entry.enqueued_sequence),
    );
    map.insert(
        symbol("x-opt-message-state"),
        Value::Int(entry.state.number()),
    );
    if let Some(lock) = entry.lock {
        map.insert(symbol("x-opt-locked-until"), timestamp(lock.until));
    }
    values::section(section::MESSAGE_ANNOTATIONS, Value::Map(map))
}
