//! `/_admin/faults`: reading and changing a stand-in's faults while it runs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Lays the members of `change` over `current`: what is not named stays as it is.
///
/// # Errors
/// A sentence naming the member that is unknown or of the wrong type.
pub(crate) fn merge<T: Serialize + DeserializeOwned>(
    current: &T,
    change: &[u8],
) -> Result<T, String> {
    let change: Value = serde_json::from_slice(change).map_err(|error| error.to_string())?;
    let Value::Object(change) = change else {
        return Err("a JSON object is expected".to_owned());
    };
    let mut merged = serde_json::to_value(current).map_err(|error| error.to_string())?;
    for (name, value) in change {
        merged[name.as_str()] = value;
    }
    serde_json::from_value(merged).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        rate: f64,
        latency_ms: u64,
    }

    const CURRENT: Settings = Settings {
        rate: 0.5,
        latency_ms: 3,
    };

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let merged: Settings = merge(&CURRENT, br#"{"latency_ms": 9}"#).unwrap();
        assert_eq!(merged.rate, 0.5);
        assert_eq!(merged.latency_ms, 9);
    }

    #[test]
    fn an_unknown_member_is_named() {
        let error = merge(&CURRENT, br#"{"latency": 9}"#).unwrap_err();
        assert!(error.contains("latency"), "{error}");
    }
}
