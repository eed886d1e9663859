//! Small conversions between AMQP values and Rust ones.

use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::{OrderedMap, Symbol, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Malformed;

/// A map as message sections and management bodies carry it.
pub(crate) type Map = OrderedMap<Value, Value>;

/// The text of a string or symbol.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Symbol(symbol) => Some(symbol.as_str()),
        _ => None,
    }
}

/// Any integer type as an `i64`. Clients differ in which one they write.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::Ubyte(n) => Some(n.into()),
        Value::Ushort(n) => Some(n.into()),
        Value::Uint(n) => Some(n.into()),
        Value::Ulong(n) => i64::try_from(n).ok(),
        Value::Byte(n) => Some(n.into()),
        Value::Short(n) => Some(n.into()),
        Value::Int(n) => Some(n.into()),
        Value::Long(n) => Some(n),
        _ => None,
    }
}

/// An AMQP timestamp as a moment; `None` for other types and for moments outside the calendar.
pub(crate) fn moment(value: &Value) -> Option<OffsetDateTime> {
    let Value::Timestamp(timestamp) = value else {
        return None;
    };
    let nanos = i128::from(timestamp.milliseconds()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

/// A moment as an AMQP timestamp, which counts milliseconds since 1970.
pub(crate) fn timestamp(moment: OffsetDateTime) -> Value {
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    Value::Timestamp(Timestamp::from_milliseconds(
        i64::try_from(millis).unwrap_or(i64::MAX),
    ))
}

/// A uuid value, in RFC 4122 byte order.
pub(crate) fn uuid(id: Uuid) -> Value {
    Value::Uuid(id.into_bytes().into())
}

/// The uuid in a value, if it is one.
pub(crate) fn as_uuid(value: &Value) -> Option<Uuid> {
    match value {
        Value::Uuid(id) => Some(Uuid::from_bytes(*id.as_inner())),
        _ => None,
    }
}

/// A symbol value.
pub(crate) fn symbol(text: &str) -> Value {
    Value::Symbol(Symbol::from(text))
}

/// The elements of a list or array, or a lone value as its only element.
pub(crate) fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::List(items) => items.clone(),
        Value::Array(items) => items.clone().into_inner(),
        Value::Null => Vec::new(),
        lone => vec![lone.clone()],
    }
}

/// Looks a key up whether it was written as string or symbol.
pub(crate) fn get<'m>(map: &'m Map, key: &str) -> Option<&'m Value> {
    map.get(&Value::String(key.to_owned()))
        .or_else(|| map.get(&symbol(key)))
        .filter(|value| **value != Value::Null)
}

/// Encodes `value` as the section with descriptor `code`.
pub(crate) fn section(code: u64, value: Value) -> Result<Vec<u8>, Malformed> {
    let described = Described {
        descriptor: Descriptor::Code(code),
        value,
    };
    Ok(serde_amqp::to_vec(&Value::Described(Box::new(described)))?)
}

/// Decodes a whole section and drops its descriptor.
pub(crate) fn section_value(bytes: &[u8]) -> Result<Value, Malformed> {
    match serde_amqp::from_slice(bytes)? {
        Value::Described(described) => Ok(described.value),
        _ => Err("section without a descriptor".into()),
    }
}

/// Decodes a section that holds a map.
pub(crate) fn section_map(bytes: &[u8]) -> Result<Map, Malformed> {
    match section_value(bytes)? {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err("section that should hold a map".into()),
    }
}
