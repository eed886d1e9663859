//! `local.settings.json`, the file in which Core Tools keeps app settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

const FILE: &str = "local.settings.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    #[serde(default)]
    is_encrypted: bool,
    #[serde(default)]
    values: BTreeMap<String, Value>,
}

/// One setting, as the Azure CLI lists them.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    value: String,
}

/// The settings of `path`, or of the app's own file if there is one.
pub(super) fn from_file(
    app: &Path,
    path: Option<&Path>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let own = app.join(FILE);
    let path = match path {
        Some(path) => path,
        None if own.is_file() => &own,
        None => return Ok(BTreeMap::new()),
    };
    read(path).with_context(|| path.display().to_string())
}

/// The settings of a file: a `local.settings.json`, or the list that `az functionapp config appsettings
/// list` prints.
pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('[') {
        let list: Vec<Listed> = serde_json::from_str(text).context("is no list of settings")?;
        return Ok(list.into_iter().map(|one| (one.name, one.value)).collect());
    }
    let file: File = serde_json::from_str(text).context("is not a local.settings.json")?;
    if file.is_encrypted {
        bail!("IsEncrypted is true: only Core Tools can read it; run `func settings decrypt`");
    }
    let mut settings = BTreeMap::new();
    for (name, value) in file.values {
        let value = match value {
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                bail!("Values.{name} must be a string: write nested settings as {name}__key")
            }
        };
        settings.insert(name, value);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_are_read_and_everything_else_is_left_alone() {
        let text =
            r#"{"IsEncrypted": false, "Values": {"A": "x", "B": true}, "Host": {"CORS": "*"}}"#;
        let settings = parse(text).unwrap();
        assert_eq!(settings["A"], "x");
        assert_eq!(settings["B"], "true");
        let listed = parse(r#"[{"name": "A", "slotSetting": false, "value": "x"}]"#).unwrap();
        assert_eq!(listed["A"], "x");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let nested = parse(r#"{"Values": {"Bus": {"key": "x"}}}"#).unwrap_err();
        assert!(format!("{nested:#}").contains("Values.Bus"));
        let encrypted = parse(r#"{"IsEncrypted": true}"#).unwrap_err();
        assert!(format!("{encrypted:#}").contains("IsEncrypted"));
    }

    #[test]
    fn the_apps_own_file_is_found_and_none_is_needed() {
        let app = tempfile::tempdir().unwrap();
        assert!(from_file(app.path(), None).unwrap().is_empty());
        fs::write(app.path().join(FILE), r#"{"Values": {"A": "x"}}"#).unwrap();
        assert_eq!(from_file(app.path(), None).unwrap()["A"], "x");
        let missing = from_file(app.path(), Some(Path::new("nowhere.json"))).unwrap_err();
        assert!(missing.to_string().contains("nowhere.json"));
    }
}
