//! JSON whose numbers keep their digits.
//!
//! `serde_json` reads a fraction as a double. Up to 15 digits its shortest text has the very digits that
//! were sent; an amount with more, and Dataverse's money has up to 19, may come out as another one. Such a
//! number is kept as an object with its digits as text, which no column can otherwise hold. The feature
//! `arbitrary_precision` of `serde_json` would keep all digits of all numbers, but for every crate of the
//! build, where it breaks untagged and flattened types; this costs one look at the bytes.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::value::RawValue;
use serde_json::{Number, Value, json};

const DIGITS: &str = "$number";

/// Reads JSON; see [`digits`] for numbers that no double can hold.
pub(crate) fn from_slice(bytes: &[u8]) -> serde_json::Result<Value> {
    // This also bounds how deep it is.
    let value: Value = serde_json::from_slice(bytes)?;
    if !has_long_number(bytes) {
        return Ok(value);
    }
    exact(serde_json::from_slice(bytes)?)
}

/// The digits of a number that no double can hold.
pub(crate) fn digits(value: &Value) -> Option<&str> {
    value.as_object()?.get(DIGITS)?.as_str()
}

/// A decimal number's value; `None` when it has more digits than any column of Dataverse.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    if text.contains(['e', 'E']) {
        Decimal::from_scientific(text).ok()
    } else {
        Decimal::from_str_exact(text).ok()
    }
}

/// Whether any number is long enough to be another one as a double.
fn has_long_number(bytes: &[u8]) -> bool {
    let (mut in_text, mut escaped, mut digits) = (false, false, 0);
    for &byte in bytes {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' | b'-' | b'+' | b'e' | b'E' => {}
            _ => {
                in_text = byte == b'"';
                digits = 0;
            }
        }
        if digits > 15 {
            return true;
        }
    }
    false
}

fn exact(raw: &RawValue) -> serde_json::Result<Value> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let members = members
                .into_iter()
                .map(|(name, member)| Ok((name, exact(member)?)));
            members
                .collect::<serde_json::Result<_>>()
                .map(Value::Object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let items = items.into_iter().map(exact);
            items.collect::<serde_json::Result<_>>().map(Value::Array)
        }
        Some(b'-' | b'0'..=b'9') => number(text),
        _ => serde_json::from_str(text),
    }
}

fn number(text: &str) -> serde_json::Result<Value> {
    let read: Number = serde_json::from_str(text)?;
    let same = !read.is_f64() || {
        let sent = decimal(text);
        sent.is_some() && sent == decimal(&read.to_string())
    };
    Ok(if same {
        Value::Number(read)
    } else {
        json!({ DIGITS: text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        from_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_number_keeps_its_digits_however_many_and_all_else_is_read_as_ever() {
        let text = r#"{"value":[{"revenue":922337203685477.5807,"versionnumber":9007199254740993,
            "rate":1.000000000000,"small":0.1,"text":"12345678901234567890.5 \" \\","none":null}]}"#;
        let row = &read(text)["value"][0];
        assert_eq!(digits(&row["revenue"]), Some("922337203685477.5807"));
        assert_eq!(row["versionnumber"], json!(9_007_199_254_740_993_i64));
        assert_eq!((&row["rate"], &row["small"]), (&json!(1.0), &json!(0.1)));
        assert_eq!(row["text"], json!("12345678901234567890.5 \" \\"));
        assert_eq!(row["none"], Value::Null);
    }

    #[test]
    fn a_number_that_a_double_rounds_to_fewer_digits_is_noticed_too() {
        let value = read("[100000000000000.0001, 100000000000000.5]");
        assert_eq!(digits(&value[0]), Some("100000000000000.0001"));
        assert_eq!(value[1], json!(100_000_000_000_000.5));
    }
}
