//! Property values and timestamps.

use bytes::Bytes;
use serde_amqp::Value as Amqp;
use serde_amqp::primitives::{Binary, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::value::Value;

/// The AMQP value of a property.
pub(crate) fn to_amqp(value: Value) -> Amqp {
    match value {
        Value::Null => Amqp::Null,
        Value::Bool(value) => Amqp::Bool(value),
        Value::Int(value) => Amqp::Int(value),
        Value::Long(value) => Amqp::Long(value),
        Value::Double(value) => Amqp::Double(value.into()),
        Value::String(value) => Amqp::String(value),
        Value::Uuid(value) => Amqp::Uuid(value.into_bytes().into()),
        Value::Timestamp(value) => Amqp::Timestamp(to_timestamp(value)),
        Value::Binary(value) => Amqp::Binary(Binary::from(value.to_vec())),
    }
}

/// The property of an AMQP value; `None` for what no property may be (lists, maps, arrays).
///
/// Described values count by what they describe: the .NET SDK sends durations, URIs and local times
/// that way.
pub(crate) fn from_amqp(value: Amqp) -> Option<Value> {
    Some(match value {
        Amqp::Null => Value::Null,
        Amqp::Bool(value) => Value::Bool(value),
        Amqp::Ubyte(value) => Value::Int(value.into()),
        Amqp::Ushort(value) => Value::Int(value.into()),
        Amqp::Uint(value) => Value::Long(value.into()),
        Amqp::Ulong(value) => {
            i64::try_from(value).map_or_else(|_| Value::String(value.to_string()), Value::Long)
        }
        Amqp::Byte(value) => Value::Int(value.into()),
        Amqp::Short(value) => Value::Int(value.into()),
        Amqp::Int(value) => Value::Int(value),
        Amqp::Long(value) => Value::Long(value),
        Amqp::Float(value) => Value::Double(value.0.into()),
        Amqp::Double(value) => Value::Double(value.0),
        Amqp::Char(value) => Value::String(value.into()),
        Amqp::String(value) => Value::String(value),
        Amqp::Symbol(value) => Value::String(value.0),
        Amqp::Uuid(value) => Value::Uuid(Uuid::from_bytes(value.into_inner())),
        Amqp::Timestamp(value) => Value::Timestamp(from_timestamp(&value)?),
        Amqp::Binary(value) => Value::Binary(Bytes::from(value.into_vec())),
        Amqp::Described(described) => return from_amqp(described.value),
        _ => return None,
    })
}

/// Milliseconds since 1970, rounded down.
pub(crate) fn to_timestamp(time: OffsetDateTime) -> Timestamp {
    let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
    // Every OffsetDateTime, years -9999 to 9999, fits.
    Timestamp::from_milliseconds(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// `None` outside the years that can be represented.
pub(crate) fn from_timestamp(timestamp: &Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp.milliseconds()) * 1_000_000).ok()
}

/// The text of a string or symbol.
pub(crate) fn text(value: &Amqp) -> Option<&str> {
    match value {
        Amqp::String(text) => Some(text),
        Amqp::Symbol(symbol) => Some(symbol.as_str()),
        _ => None,
    }
}

/// The number in an integer of any width.
pub(crate) fn integer(value: &Amqp) -> Option<i64> {
    match value {
        Amqp::Ubyte(value) => Some((*value).into()),
        Amqp::Ushort(value) => Some((*value).into()),
        Amqp::Uint(value) => Some((*value).into()),
        Amqp::Ulong(value) => i64::try_from(*value).ok(),
        Amqp::Byte(value) => Some((*value).into()),
        Amqp::Short(value) => Some((*value).into()),
        Amqp::Int(value) => Some((*value).into()),
        Amqp::Long(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_amqp::described::Described;
    use serde_amqp::descriptor::Descriptor;
    use time::macros::datetime;

    #[test]
    fn every_property_value_survives_the_wire() {
        for value in [
            Value::Null,
            Value::Bool(true),
            Value::Int(-7),
            Value::Long(1 << 40),
            Value::Double(0.5),
            Value::String("grün".into()),
            Value::Uuid(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)),
            Value::Timestamp(datetime!(2026-11-23 15:00:00.123 UTC)),
            Value::Binary(Bytes::from_static(&[0, 1, 255])),
        ] {
            let bytes = serde_amqp::to_vec(&to_amqp(value.clone())).unwrap();
            let back: Amqp = serde_amqp::from_slice(&bytes).unwrap();
            assert_eq!(from_amqp(back), Some(value));
        }
    }

    #[test]
    fn other_widths_are_widened_and_collections_left_out() {
        assert_eq!(from_amqp(Amqp::Ubyte(9)), Some(Value::Int(9)));
        assert_eq!(
            from_amqp(Amqp::Uint(u32::MAX)),
            Some(Value::Long(u32::MAX.into()))
        );
        assert_eq!(
            from_amqp(Amqp::Ulong(u64::MAX)),
            Some(Value::String(u64::MAX.to_string()))
        );
        assert_eq!(from_amqp(Amqp::Symbol("s".into())), Some(Value::from("s")));
        assert_eq!(from_amqp(Amqp::List(vec![])), None);
    }

    #[test]
    fn a_dotnet_duration_reads_as_its_ticks() {
        let timespan = Amqp::Described(Box::new(Described {
            descriptor: Descriptor::Name("com.microsoft:timespan".into()),
            value: Amqp::Long(10_000_000),
        }));
        assert_eq!(from_amqp(timespan), Some(Value::Long(10_000_000)));
    }

    #[test]
    fn timestamps_are_cut_to_milliseconds_also_before_1970() {
        let time = datetime!(1969-12-31 23:59:59.999_999 UTC);
        assert_eq!(to_timestamp(time).milliseconds(), -1);
        assert_eq!(
            from_timestamp(&Timestamp::from_milliseconds(i64::MAX)),
            None
        );
    }
}
