//! Decodes the values of `Metadata`, each by its own key's rule.
//!
//! The host encodes values by their .NET type: a string or a number arrives as a JSON string that holds
//! JSON once more, a date as a plain string, a dictionary as an object. Which of them applies follows
//! from the key alone. Trying to parse instead would decode values that merely look encoded.
//! (azure-functions-host, `ScriptInvocationContextExtensions`.)

use serde_json::{Map, Value};
use time::format_description::well_known::Iso8601;
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use crate::DecodeError;

/// The `Metadata` object of one invocation.
pub(crate) struct Metadata<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Metadata<'a> {
    /// A string value: doubly encoded, absent when null.
    pub(crate) fn text(&self, key: &'static str) -> Result<Option<String>, DecodeError> {
        self.encoded(key, "a doubly encoded string")
    }

    /// A GUID: doubly encoded like every string.
    pub(crate) fn uuid(&self, key: &'static str) -> Result<Uuid, DecodeError> {
        let text = self
            .text(key)?
            .ok_or(DecodeError::MissingMetadata { key })?;
        Uuid::try_parse(&text).map_err(|_| DecodeError::Metadata {
            key,
            expected: "a GUID",
        })
    }

    /// A whole number: a string that holds its digits.
    pub(crate) fn integer<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
    ) -> Result<T, DecodeError> {
        self.encoded(key, "a whole number in a string")?
            .ok_or(DecodeError::MissingMetadata { key })
    }

    /// A date: a string encoded once, without a fraction of a second, in UTC when it names no zone.
    pub(crate) fn date(&self, key: &'static str) -> Result<OffsetDateTime, DecodeError> {
        let value = self
            .0
            .get(key)
            .ok_or(DecodeError::MissingMetadata { key })?;
        let text = value.as_str();
        text.and_then(parse_date).ok_or(DecodeError::Metadata {
            key,
            expected: "a date",
        })
    }

    /// A dictionary: a nested object, absent when null.
    pub(crate) fn object(
        &self,
        key: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, DecodeError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(DecodeError::Metadata {
                key,
                expected: "an object",
            }),
        }
    }

    fn encoded<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        let Some(value) = self.0.get(key) else {
            return Ok(None);
        };
        let text = value.as_str();
        let decoded = text.and_then(|text| serde_json::from_str(text).ok());
        decoded
            .map(Some)
            .ok_or(DecodeError::Metadata { key, expected })
    }
}

/// Reads the date forms the host writes: with an offset, with `Z`, or without a zone, which means UTC;
/// with or without a fraction of a second.
pub(crate) fn parse_date(text: &str) -> Option<OffsetDateTime> {
    if let Ok(date) = OffsetDateTime::parse(text, &Iso8601::PARSING) {
        return Some(date.to_offset(time::UtcOffset::UTC));
    }
    PrimitiveDateTime::parse(text, &Iso8601::PARSING)
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn dates_are_read_with_and_without_zone_and_fraction() {
        assert_eq!(
            parse_date("2026-03-02T09:15:30"),
            Some(datetime!(2026-03-02 09:15:30 UTC))
        );
        assert_eq!(
            parse_date("2026-03-02T09:15:30+00:00"),
            Some(datetime!(2026-03-02 09:15:30 UTC))
        );
        assert_eq!(
            parse_date("2026-03-02T10:15:30.123+01:00"),
            Some(datetime!(2026-03-02 09:15:30.123 UTC))
        );
        assert_eq!(
            parse_date("2026-03-02T09:15:31.4567891Z"),
            Some(datetime!(2026-03-02 09:15:31.456_789_1 UTC))
        );
        assert_eq!(
            parse_date("9999-12-31T23:59:59"),
            Some(datetime!(9999-12-31 23:59:59 UTC))
        );
        assert_eq!(parse_date("03/02/2026 09:00:00"), None);
    }

    #[test]
    fn a_string_that_looks_like_a_number_stays_a_string() {
        let map = json!({"MessageId": "\"42\"", "SequenceNumber": "42"});
        let metadata = Metadata(map.as_object().unwrap());
        assert_eq!(metadata.text("MessageId"), Ok(Some("42".to_owned())));
        assert_eq!(metadata.integer::<i64>("SequenceNumber"), Ok(42));
        assert!(matches!(
            metadata.integer::<i64>("MessageId"),
            Err(DecodeError::Metadata {
                key: "MessageId",
                ..
            })
        ));
        assert!(matches!(
            metadata.text("SequenceNumber"),
            Err(DecodeError::Metadata { .. })
        ));
    }
}
