//! Judges an app's files without running it, all of them at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{AppError, FunctionConfig, HostJson, Settings, TriggerConfig, parse_time_span};
use crate::host::trigger::Schedule;

/// A value for which the host, or this stand-in for it, would not run the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file it is in.
    pub file: PathBuf,
    /// Its key, e.g. `bindings.0.dataType`; empty when the file as a whole is meant.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is wrong with `host.json` in `dir` and with the functions in `folders`, under these app settings:
/// the first finding of each file.
#[must_use]
pub fn examine(
    dir: &Path,
    folders: &[PathBuf],
    settings: &BTreeMap<String, String>,
) -> Vec<Refusal> {
    let settings = Settings::new(settings.clone());
    let mut refusals = Vec::new();
    let mut functions = Vec::new();
    for folder in folders {
        match FunctionConfig::load(folder, &settings) {
            Ok(Some(function)) => {
                refusals.extend(schedule(&function, folder));
                functions.push(function);
            }
            Ok(None) => {}
            Err(error) => refusals.push(refusal(error, &folder.join("function.json"))),
        }
    }
    let host = HostJson::load(dir, &settings).and_then(|host| {
        host.check_bundle(&functions)?;
        host.check_batches(&functions)
    });
    refusals.extend(
        host.err()
            .map(|error| refusal(error, &dir.join("host.json"))),
    );
    refusals
}

/// The JSON of `host.json` in `dir` under the app settings that override values of it.
///
/// # Errors
/// When it cannot be read, or is not JSON.
pub fn host_json(dir: &Path, settings: &BTreeMap<String, String>) -> Result<Value, AppError> {
    HostJson::overridden(dir, &Settings::new(settings.clone()))
}

/// Reads a time span as .NET writes it, e.g. `00:10:00`; negative ones are what the host's settings use for
/// "without end".
#[must_use]
pub fn time_span(text: &str) -> Option<time::Duration> {
    parse_time_span(text)
}

fn schedule(function: &FunctionConfig, folder: &Path) -> Option<Refusal> {
    let TriggerConfig::Timer(timer) = &function.trigger else {
        return None;
    };
    Schedule::parse(&timer.schedule).is_none().then(|| Refusal {
        file: folder.join("function.json"),
        path: "bindings.0.schedule".to_owned(),
        reason: format!(
            "{:?} is no schedule: six fields from seconds to days of the week, e.g. \"0 */5 * * * *\", or a time span",
            timer.schedule
        ),
    })
}

fn refusal(error: AppError, file: &Path) -> Refusal {
    let (path, reason) = match error {
        AppError::HostJson { key, reason } => (key, reason),
        AppError::Function { reason, .. } => match reason.split_once(": ") {
            Some((path, reason)) if !path.contains(' ') => (path.to_owned(), reason.to_owned()),
            _ => (String::new(), reason),
        },
        AppError::Json { source, .. } => (String::new(), format!("is not JSON: {source}")),
        AppError::Read { source, .. } => (String::new(), format!("cannot be read: {source}")),
        other => (String::new(), other.to_string()),
    };
    Refusal {
        file: file.to_owned(),
        path,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_judged_and_the_key_at_fault_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("host.json", r#"{"version": "1.0"}"#);
        write(
            "A/function.json",
            r#"{"bindings": [{"type": "serviceBusTrigger", "name": "m", "queueName": "q", "dataType": "x"}]}"#,
        );
        write(
            "B/function.json",
            r#"{"bindings": [{"type": "timerTrigger", "name": "t", "schedule": "often"}]}"#,
        );
        write("C/function.json", "{");
        let folders = ["A", "B", "C"].map(|name| dir.path().join(name));
        let found = examine(dir.path(), &folders, &BTreeMap::new());
        let paths: Vec<_> = found.iter().map(|r| r.path.as_str()).collect();
        assert_eq!(
            paths,
            ["bindings.0.dataType", "bindings.0.schedule", "", "version"]
        );
        assert!(found[2].reason.contains("is not JSON"), "{found:?}");
    }
}
