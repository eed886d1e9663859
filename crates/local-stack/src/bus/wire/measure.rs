//! Walks one encoded AMQP value and says how long it is, without building it.
//!
//! Everything a peer sends passes through here before it is decoded: declared sizes and counts are
//! checked against the bytes that are really there, and nesting is bounded, so that the decoder
//! behind it can neither recurse without end nor allocate for elements that do not exist.
//! Format codes: OASIS AMQP 1.0, part 1.2 (type encodings by width category).

use super::Malformed;

/// Deeper values than this are refused; real performatives stay below ten.
const MAX_DEPTH: u32 = 64;
/// Array elements without any bytes of their own (null, true, empty list) that we accept at once.
const MAX_ZERO_WIDTH_ELEMENTS: usize = 65_536;

/// The length in bytes of the value at the start of `bytes`, all of which has been walked.
///
/// # Errors
/// When the value is cut short, contradicts its own sizes, nests too deeply or has an unknown
/// width category.
pub(crate) fn measure(bytes: &[u8]) -> Result<usize, Malformed> {
    value(bytes, 0)
}

fn value(bytes: &[u8], depth: u32) -> Result<usize, Malformed> {
    if depth > MAX_DEPTH {
        return Err("values nested too deeply".into());
    }
    let (&code, rest) = bytes
        .split_first()
        .ok_or(Malformed::from("value is cut short"))?;
    if code == 0x00 {
        let descriptor = value(rest, depth + 1)?;
        let described = value(&rest[descriptor..], depth + 1)?;
        return Ok(1 + descriptor + described);
    }
    Ok(1 + payload(code, rest, depth)?)
}

/// The length of what follows format code `code`.
fn payload(code: u8, rest: &[u8], depth: u32) -> Result<usize, Malformed> {
    let length = match code >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa => 1 + number(rest, 1)?,
        0xb => 4 + number(rest, 4)?,
        0xc => return compound(code, rest, 1, depth),
        0xd => return compound(code, rest, 4, depth),
        0xe => return array(rest, 1, depth),
        0xf => return array(rest, 4, depth),
        _ => return Err(Malformed(format!("unknown format code {code:#04x}"))),
    };
    if rest.len() < length {
        return Err("value is cut short".into());
    }
    Ok(length)
}

fn compound(code: u8, rest: &[u8], width: usize, depth: u32) -> Result<usize, Malformed> {
    let (mut items, count, length) = sized(rest, width)?;
    if code & 0x0f == 1 && !count.is_multiple_of(2) {
        return Err("map with a key that has no value".into());
    }
    for _ in 0..count {
        let item = value(items, depth + 1)?;
        items = &items[item..];
    }
    if !items.is_empty() {
        return Err("compound value is longer than its items".into());
    }
    Ok(length)
}

fn array(rest: &[u8], width: usize, depth: u32) -> Result<usize, Malformed> {
    let (mut elements, count, length) = sized(rest, width)?;
    let mut code = take(&mut elements)?;
    if code == 0x00 {
        let descriptor = value(elements, depth + 1)?;
        elements = &elements[descriptor..];
        code = take(&mut elements)?;
    }
    if code >> 4 == 0x4 && count > MAX_ZERO_WIDTH_ELEMENTS {
        return Err("array of too many elements".into());
    }
    for _ in 0..count {
        if depth >= MAX_DEPTH {
            return Err("values nested too deeply".into());
        }
        let element = payload(code, elements, depth + 1)?;
        elements = &elements[element..];
    }
    if !elements.is_empty() {
        return Err("array is longer than its elements".into());
    }
    Ok(length)
}

/// Reads the size and count in front of a compound or array, both `width` bytes wide: the bytes
/// of its items, their count, and the length of the whole.
fn sized(rest: &[u8], width: usize) -> Result<(&[u8], usize, usize), Malformed> {
    let size = number(rest, width)?;
    let length = width + size;
    if size < width || rest.len() < length {
        return Err("compound value is cut short".into());
    }
    let count = number(&rest[width..], width)?;
    Ok((&rest[2 * width..length], count, length))
}

fn take(bytes: &mut &[u8]) -> Result<u8, Malformed> {
    let (&first, rest) = bytes
        .split_first()
        .ok_or(Malformed::from("array is cut short"))?;
    *bytes = rest;
    Ok(first)
}

fn number(bytes: &[u8], width: usize) -> Result<usize, Malformed> {
    let digits = bytes
        .get(..width)
        .ok_or(Malformed::from("size is cut short"))?;
    Ok(digits
        .iter()
        .fold(0, |value, &digit| (value << 8) | usize::from(digit)))
}

#[cfg(test)]
mod tests {
    use serde_amqp::Value;
    use serde_amqp::primitives::{Array, OrderedMap, Symbol};

    use super::*;

    fn sample() -> Value {
        let mut map = OrderedMap::new();
        map.insert(
            Value::from(Symbol::from("key")),
            Value::String("x".repeat(300)),
        );
        map.insert(
            Value::String("list".into()),
            Value::List(vec![Value::Null, Value::Long(7), Value::Bool(true)]),
        );
        map.insert(
            Value::String("array".into()),
            Value::Array(Array::from(vec![Value::Long(1), Value::Long(2)])),
        );
        Value::Map(map)
    }

    #[test]
    fn a_value_is_as_long_as_its_encoding_whatever_follows_it() {
        let mut bytes = serde_amqp::to_vec(&sample()).unwrap();
        let length = bytes.len();
        bytes.extend_from_slice(b"more");
        assert_eq!(measure(&bytes), Ok(length));
    }

    #[test]
    fn a_value_cut_short_anywhere_is_refused() {
        let bytes = serde_amqp::to_vec(&sample()).unwrap();
        for end in 0..bytes.len() {
            assert!(measure(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn descriptors_nested_without_end_are_refused() {
        assert!(measure(&[0u8; 60_000]).is_err());
    }

    #[test]
    fn an_array_that_claims_a_billion_empty_elements_is_refused() {
        assert!(measure(&[0xf0, 0, 0, 0, 5, 0x3b, 0x9a, 0xca, 0x00, 0x40]).is_err());
    }

    #[test]
    fn a_count_that_disagrees_with_the_size_is_refused() {
        assert!(
            measure(&[0xc0, 0x03, 0x01, 0x40, 0x40]).is_err(),
            "more bytes than items"
        );
        assert!(
            measure(&[0xc0, 0x02, 0x02, 0x40]).is_err(),
            "more items than bytes"
        );
        assert!(measure(&[0xc1, 0x02, 0x01, 0x40]).is_err(), "a key alone");
    }
}
