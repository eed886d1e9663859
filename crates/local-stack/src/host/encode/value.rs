//! The encoder table: how a .NET value becomes JSON in an invocation.

use serde_json::{Map, Value};
use time::OffsetDateTime;

/// A .NET value as the host holds it before encoding.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NetValue {
    /// `string`: JSON inside a JSON string.
    Text(String),
    /// `int` or `long`: its digits in a string.
    Number(i64),
    /// `DateTime`, UTC: to the second, without a zone.
    DateTime(OffsetDateTime),
    /// `DateTimeOffset`, UTC: to the second, with its offset.
    DateTimeOffset(OffsetDateTime),
    /// A dictionary or any other object: nested.
    Object(Map<String, Value>),
    /// An array: its JSON in a string.
    List(Vec<Value>),
    /// `null`: the key is left out.
    Null,
}

impl NetValue {
    pub(super) fn text(value: Option<&str>) -> Self {
        value.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }

    fn into_json(self) -> Option<Value> {
        Some(match self {
            Self::Text(text) => Value::String(Value::String(text).to_string()),
            Self::Number(number) => Value::String(number.to_string()),
            Self::DateTime(date) => Value::String(seconds(date)),
            Self::DateTimeOffset(date) => Value::String(format!("{}+00:00", seconds(date))),
            Self::Object(map) => Value::Object(map),
            Self::List(values) => Value::String(Value::Array(values).to_string()),
            Self::Null => return None,
        })
    }
}

/// The host's binding data: ordered, keys compared without regard to case.
#[derive(Debug, Default)]
pub(super) struct BindingData(Vec<(String, NetValue)>);

impl BindingData {
    pub(super) fn add(&mut self, key: &str, value: NetValue) {
        self.0.push((key.to_owned(), value));
    }

    /// Writes over a key in its place and spelling, or adds it at the end.
    pub(super) fn set(&mut self, key: &str, value: NetValue) {
        let same =
            |(existing, _): &&mut (String, NetValue)| existing.to_lowercase() == key.to_lowercase();
        match self.0.iter_mut().find(same) {
            Some((_, existing)) => *existing = value,
            None => self.add(key, value),
        }
    }

    pub(super) fn into_json(self) -> Map<String, Value> {
        let is_trigger = |key: &str| key.to_ascii_lowercase().ends_with("trigger");
        let kept = self.0.into_iter().filter(|(key, _)| !is_trigger(key));
        kept.filter_map(|(key, value)| Some((key, value.into_json()?)))
            .collect()
    }
}

/// `yyyy-MM-ddTHH:mm:ss`, the fraction cut off.
fn seconds(date: OffsetDateTime) -> String {
    let (date, clock) = (date.date(), date.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// `yyyy-MM-ddTHH:mm:ss.fffffff`, with as much of the fraction as is not zero: Json.NET's form.
pub(super) fn seven_digits(date: OffsetDateTime) -> String {
    let fraction = format!("{:07}", date.nanosecond() / 100);
    match fraction.trim_end_matches('0') {
        "" => seconds(date),
        fraction => format!("{}.{fraction}", seconds(date)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_type_is_encoded_by_its_row_of_the_table() {
        let date = datetime!(2026-03-02 09:15:30.987 UTC);
        let object = Map::from_iter([("a".to_owned(), json!(1))]);
        for (value, encoded) in [
            (NetValue::Text("a\"b".to_owned()), Some(json!("\"a\\\"b\""))),
            (NetValue::Number(42), Some(json!("42"))),
            (NetValue::DateTime(date), Some(json!("2026-03-02T09:15:30"))),
            (
                NetValue::DateTimeOffset(date),
                Some(json!("2026-03-02T09:15:30+00:00")),
            ),
            (NetValue::Object(object), Some(json!({"a": 1}))),
            (
                NetValue::List(vec![json!(1), json!(null)]),
                Some(json!("[1,null]")),
            ),
            (NetValue::Null, None),
        ] {
            assert_eq!(value.into_json(), encoded);
        }
    }

    #[test]
    fn a_fraction_is_written_without_trailing_zeros() {
        assert_eq!(
            seven_digits(datetime!(2026-03-02 09:15:31.4567891 UTC)),
            "2026-03-02T09:15:31.4567891"
        );
        assert_eq!(
            seven_digits(datetime!(2026-03-02 09:15:31.45 UTC)),
            "2026-03-02T09:15:31.45"
        );
        assert_eq!(
            seven_digits(datetime!(2026-03-02 09:15:31 UTC)),
            "2026-03-02T09:15:31"
        );
    }

    #[test]
    fn a_key_is_overwritten_in_place_whatever_its_case_and_triggers_are_dropped() {
        let mut data = BindingData::default();
        data.add("MessageId", NetValue::Null);
        data.add("sys", NetValue::Number(1));
        data.set("MESSAGEID", NetValue::Number(7));
        data.set("myTrigger", NetValue::Number(1));
        data.set("new", NetValue::Number(2));
        let json = Value::Object(data.into_json()).to_string();
        assert_eq!(json, r#"{"MessageId":"7","sys":"1","new":"2"}"#);
    }
}
