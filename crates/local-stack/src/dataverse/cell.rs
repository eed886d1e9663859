//! One typed value, and how it looks as JSON.

use std::cmp::Ordering;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};
use uuid::Uuid;

/// What a column of a row holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Number(f64),
    Text(String),
    Time(OffsetDateTime),
    Guid(Uuid),
    /// A lookup: the table and the row it points at.
    Reference(&'static str, Uuid),
}

impl Cell {
    /// As the Web API returns it, without annotations.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Number(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Time(value) => json!(format_time(*value)),
            Self::Guid(value) | Self::Reference(_, value) => json!(value),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The order of two values of one column, as SQL Server sees it: text without regard to case.
    /// `None` when either is null or they are of different kinds.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.to_lowercase().cmp(&b.to_lowercase())),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Guid(a) | Self::Reference(_, a), Self::Guid(b) | Self::Reference(_, b)) => {
                Some(a.cmp(b))
            }
            (Self::Int(_) | Self::Number(_), Self::Int(_) | Self::Number(_)) => {
                self.as_number()?.partial_cmp(&other.as_number()?)
            }
            _ => None,
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss)] // only reached when one side is a fraction
            Self::Int(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The order for sorting: nulls first, as SQL Server does.
    pub(super) fn sort(&self, other: &Self) -> Ordering {
        match (self.is_null(), other.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.compare(other).unwrap_or(Ordering::Equal),
        }
    }
}

/// Dataverse keeps whole seconds.
pub(super) fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(time::UtcOffset::UTC)
        .replace_nanosecond(0)
        .unwrap_or(at)
}

pub(super) fn format_time(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// Reads a time as the Web API accepts it: RFC 3339, or a date alone.
pub(super) fn parse_time(text: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(whole_second(at));
    }
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = Date::parse(text, format).ok()?;
    Some(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc())
}
