//! Copies members of a JSON string body over the message's metadata, as the host does.
//!
//! It happens only for cardinality one with a string body. The body, which the sender controls, thereby
//! overwrites genuine metadata such as the message id (azure-functions-host `Utility.ApplyBindingData`).

use serde_json::Value;
use time::format_description::well_known::Iso8601;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use super::value::{BindingData, NetValue};

/// Applies the top-level members of `body`, if it is a JSON object.
pub(super) fn pollute(data: &mut BindingData, body: &str) {
    // Anything else is not an error, just no source of binding data.
    let Ok(Value::Object(members)) = serde_json::from_str(body) else {
        return;
    };
    for (key, value) in members {
        let value = match value {
            Value::Array(_) | Value::Null => continue,
            Value::Object(map) => NetValue::Object(map),
            Value::Bool(true) => NetValue::Text("True".to_owned()),
            Value::Bool(false) => NetValue::Text("False".to_owned()),
            Value::Number(number) => NetValue::Text(number.to_string()),
            Value::String(text) => NetValue::Text(dates_reformatted(text)),
        };
        data.set(&key, value);
    }
}

/// Json.NET takes an ISO date for a date, and the host turns that into text in .NET's invariant form.
pub(crate) fn dates_reformatted(text: String) -> String {
    let looks_like_a_date = text.len() >= 19 && text.as_bytes().get(10) == Some(&b'T');
    let parsed = looks_like_a_date.then(|| {
        let with_offset = OffsetDateTime::parse(&text, &Iso8601::PARSING);
        // A date with an offset becomes local time, which on Azure is UTC.
        let date = with_offset.map(|date| date.to_offset(UtcOffset::UTC));
        date.or_else(|_| {
            PrimitiveDateTime::parse(&text, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc)
        })
        .ok()
    });
    let Some(date) = parsed.flatten() else {
        return text;
    };
    format!(
        "{:02}/{:02}/{:04} {:02}:{:02}:{:02}",
        u8::from(date.month()),
        date.day(),
        date.year(),
        date.hour(),
        date.minute(),
        date.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polluted(body: &str) -> String {
        let mut data = BindingData::default();
        data.add("DeliveryCount", NetValue::Number(1));
        pollute(&mut data, body);
        Value::Object(data.into_json()).to_string()
    }

    #[test]
    fn scalars_become_text_objects_nest_arrays_and_nulls_are_left_out() {
        assert_eq!(
            polluted(
                r#"{"deliveryCount":99,"b":true,"o":{"x":1},"a":[1],"n":null,"f":1.5,"s":"t"}"#
            ),
            r#"{"DeliveryCount":"\"99\"","b":"\"True\"","o":{"x":1},"f":"\"1.5\"","s":"\"t\""}"#
        );
    }

    #[test]
    fn what_is_not_an_object_changes_nothing() {
        for body in ["[1]", "{oops", "text", "", "7"] {
            assert_eq!(polluted(body), r#"{"DeliveryCount":"1"}"#, "{body}");
        }
    }

    #[test]
    fn iso_dates_lose_their_form() {
        assert_eq!(
            dates_reformatted("2026-03-02T10:00:00+01:00".to_owned()),
            "03/02/2026 09:00:00"
        );
        assert_eq!(
            dates_reformatted("2026-03-02T09:00:00".to_owned()),
            "03/02/2026 09:00:00"
        );
        assert_eq!(dates_reformatted("2026-03-02".to_owned()), "2026-03-02");
    }
}
