//! Choices and times: one column's value in the form the target wants. Pure.

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time, UtcOffset};

use crate::config::{DateFormat, Translation};

/// Why a value has no place in the payload. Does not say the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A choice's value that is not translated; `key` is where the translation stands.
    UnknownOption { key: &'static str },
    /// More digits after the point than there is room for.
    Digits,
    /// More digits than a double holds.
    Inexact,
    /// A time that the format cannot write.
    Date,
    /// Not a value of the type the form is for.
    Type { expected: &'static str },
}

/// A choice's one value.
pub(super) fn option(translation: &Translation, value: &Value) -> Result<Value, Unfit> {
    let text = match value {
        Value::Number(n) if n.is_i64() => n.to_string(),
        Value::Bool(b) => b.to_string(),
        _ => return Err(Unfit::Type { expected: "choice" }),
    };
    translated(translation, &text, "options")
}

/// A choice's values: Dataverse writes them as one text, `"100,101"`.
pub(super) fn options(translation: &Translation, value: &Value) -> Result<Value, Unfit> {
    let wrong = Unfit::Type {
        expected: "choice of several values",
    };
    let Value::String(text) = value else {
        return Err(wrong);
    };
    let values = text.split(',').map(str::trim).filter(|s| !s.is_empty());
    let values = values.map(|value| match value.parse::<i64>() {
        Ok(number) => translated(translation, &number.to_string(), "multiSelect"),
        Err(_) => Err(wrong.clone()),
    });
    values.collect::<Result<_, _>>().map(Value::Array)
}

fn translated(translation: &Translation, value: &str, key: &'static str) -> Result<Value, Unfit> {
    let known = translation.values.get(value);
    let known = known.or(translation.default.as_ref());
    known.cloned().ok_or(Unfit::UnknownOption { key })
}

/// A time, or a day, which stands for its midnight. In UTC, as Dataverse sends them.
pub(super) fn date(format: &DateFormat, value: &Value) -> Result<Value, Unfit> {
    let wrong = Unfit::Type { expected: "date" };
    let text = value.as_str().ok_or(wrong.clone())?;
    let day = format_description!("[year]-[month]-[day]");
    let at = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(at) => at.to_offset(UtcOffset::UTC),
        Err(_) => Date::parse(text, day)
            .map_err(|_| wrong)?
            .with_time(Time::MIDNIGHT)
            .assume_utc(),
    };
    let written = match format {
        DateFormat::UnixSeconds => return Ok(at.unix_timestamp().into()),
        DateFormat::Rfc3339 => at.format(&Rfc3339),
        DateFormat::Custom(format) => at.format(format),
    };
    written.map(Value::String).map_err(|_| Unfit::Date)
}
