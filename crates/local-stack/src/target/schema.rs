//! What the target demands of a row: a little of what JSON Schema can say, for each resource.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::store::{Answer, invalid};

/// By member of the row.
pub type Schema = BTreeMap<String, Demand>;

/// What is demanded of one member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Demand {
    /// It must be there, and not null.
    pub required: bool,
    /// What it must be, unless it is null.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// Longest text, in characters.
    pub max_length: Option<usize>,
    /// What it may be; empty: anything.
    #[serde(rename = "enum")]
    pub one_of: Vec<Value>,
}

/// A type of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text.
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// An object.
    Object,
    /// A list.
    Array,
}

impl Kind {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
        }
    }
}

/// The refusal of a row that does not fit, with code and field.
pub(super) fn check(schema: &Schema, row: &Map<String, Value>) -> Option<Answer> {
    schema.iter().find_map(|(field, demand)| {
        let code = demand.broken_by(row.get(field).unwrap_or(&Value::Null))?;
        Some(invalid(code, field))
    })
}

impl Demand {
    fn broken_by(&self, value: &Value) -> Option<&'static str> {
        if value.is_null() {
            return self.required.then_some("missing-field");
        }
        let long = |most| value.as_str().is_some_and(|s| s.chars().count() > most);
        if self.kind.is_some_and(|kind| !kind.is(value)) {
            Some("wrong-type")
        } else if self.max_length.is_some_and(long) {
            Some("too-long")
        } else if !self.one_of.is_empty() && !self.one_of.contains(value) {
            Some("unknown-value")
        } else {
            None
        }
    }
}
