//! The values that application properties may have.

use std::collections::BTreeMap;

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

/// Application properties, by name.
pub type Properties = BTreeMap<String, Value>;

/// The value of an application property: the AMQP primitive types that Service Bus SDKs use.
///
/// Other integer and float widths are widened when they are received (`uint` to [`Value::Long`],
/// `float` to [`Value::Double`], `symbol` and `char` to [`Value::String`], and so on).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// AMQP `null`.
    Null,
    /// AMQP `boolean`.
    Bool(bool),
    /// AMQP `int`.
    Int(i32),
    /// AMQP `long`.
    Long(i64),
    /// AMQP `double`.
    Double(f64),
    /// AMQP `string`.
    String(String),
    /// AMQP `uuid`.
    Uuid(Uuid),
    /// AMQP `timestamp`, with millisecond precision on the wire.
    Timestamp(OffsetDateTime),
    /// AMQP `binary`.
    Binary(Bytes),
}

impl Value {
    /// The text of a [`Value::String`].
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number in a [`Value::Int`] or [`Value::Long`].
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(i64::from(*number)),
            Value::Long(number) => Some(*number),
            _ => None,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Value::$variant(value.into())
            }
        })*
    };
}

value_from! {
    bool => Bool,
    i32 => Int,
    i64 => Long,
    f64 => Double,
    &str => String,
    String => String,
    Uuid => Uuid,
    OffsetDateTime => Timestamp,
    Bytes => Binary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_either_width_read_as_one() {
        assert_eq!(Value::from(7_i32).as_i64(), Some(7));
        assert_eq!(Value::from(7_i64).as_i64(), Some(7));
        assert_eq!(Value::from("7").as_i64(), None);
        assert_eq!(Value::from("7").as_str(), Some("7"));
    }
}
