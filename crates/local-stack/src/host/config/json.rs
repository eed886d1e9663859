//! Reading JSON the way .NET's configuration and attributes do: member names in any case.

use serde_json::Value;

/// A member, its name compared without regard to case.
pub(super) fn member<'a>(json: &'a Value, key: &str) -> Option<&'a Value> {
    let members = json.as_object()?;
    let found = members
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key));
    found.map(|(_, value)| value)
}

/// A string member; `null` counts as absent. The error names the key.
pub(super) fn text(json: &Value, key: &str) -> Result<Option<String>, String> {
    match member(json, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key} is not a string")),
    }
}

/// A boolean member; `null` counts as absent. The error names the key.
pub(super) fn flag(json: &Value, key: &str) -> Result<Option<bool>, String> {
    match member(json, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(format!("{key} is not true or false")),
    }
}
