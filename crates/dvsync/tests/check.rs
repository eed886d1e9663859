//! `dvsync check` on a good package, on one broken package after the other, and against an environment.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use local_stack::dataverse::{Dataverse, DataverseConfig};
use serde_json::Value;

const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/broken");

struct Checked {
    accepted: bool,
    findings: Vec<Value>,
    text: String,
}

fn check(arguments: &[&Path]) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dvsync"));
    let output = command
        .arg("check")
        .arg("--json")
        .args(arguments)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Checked {
        accepted: output.status.success(),
        findings: json["findings"].as_array().cloned().unwrap_or_default(),
        text,
    }
}

/// The base with what a case has instead; `NAME.merge` is merged into the base's file (RFC 7386).
fn lay_over(case: &Path, package: &Path) {
    for entry in fs::read_dir(case).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap().to_str().unwrap().to_owned();
        if from.is_dir() {
            fs::create_dir_all(package.join(&name)).unwrap();
            lay_over(&from, &package.join(&name));
        } else if let Some(merged) = name.strip_suffix(".merge") {
            let to = package.join(merged);
            let mut json = read(&to);
            merge(&mut json, &read(&from));
            fs::write(to, json.to_string()).unwrap();
        } else if name != "expected.txt" {
            fs::copy(&from, package.join(name)).unwrap();
        }
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let members = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            members.shift_remove(key);
        } else {
            merge(members.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(BROKEN).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir() && !path.ends_with("base"));
    cases.sort();
    cases
}

fn metadata() -> PathBuf {
    Path::new(BROKEN).join("base/metadata.json")
}

#[test]
fn the_good_base_and_the_shipped_package_are_accepted() {
    let base = Path::new(BROKEN).join("base");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for arguments in [
        vec![base.as_path(), Path::new("--metadata"), &metadata()],
        vec![shipped.as_path()],
    ] {
        let checked = check(&arguments);
        assert!(checked.accepted, "{arguments:?}: {}", checked.text);
        assert!(checked.findings.is_empty());
    }
}

#[test]
fn every_broken_configuration_is_reported_with_file_path_reason_and_fix_and_none_is_accepted() {
    let cases = cases();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let package = tempfile::tempdir().unwrap();
        lay_over(&Path::new(BROKEN).join("base"), package.path());
        lay_over(case, package.path());
        let checked = check(&[package.path(), Path::new("--metadata"), &metadata()]);
        let expected = fs::read_to_string(case.join("expected.txt")).unwrap();
        let mut expected = expected.lines();
        let (file, path) = (expected.next().unwrap(), expected.next().unwrap());
        let words: Vec<&str> = expected.collect();
        let fits = |finding: &&Value| {
            let said = format!("{} {}", finding["problem"], finding["fix"]).replace("\\\"", "\"");
            finding["file"] == file
                && finding["path"] == path
                && words.iter().all(|word| said.contains(word))
        };
        if checked.accepted || checked.findings.iter().find(fits).is_none() {
            let name = case.file_name().unwrap().to_string_lossy();
            wrong.push(format!(
                "{name}: {file} {path} {words:?} not in {}",
                checked.text
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_files_fit_an_environment_that_is_asked_and_a_wrong_column_does_not() {
    let dataverse = Dataverse::start(DataverseConfig::default()).await.unwrap();
    let url = PathBuf::from(dataverse.url());
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let broken = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    let text = fs::read_to_string(shipped.join("sync.json")).unwrap();
    let text = text.replacen("\"telephone1\"", "\"telephone9\"", 1);
    fs::write(broken.path(), text).unwrap();
    tokio::task::spawn_blocking(move || {
        let checked = check(&[&shipped, Path::new("--metadata"), &url]);
        assert!(checked.accepted, "{}", checked.text);
        let config = broken.path().to_owned();
        let checked = check(&[
            Path::new("--config"),
            &config,
            Path::new("--metadata"),
            &url,
        ]);
        assert!(!checked.accepted, "{}", checked.text);
        assert_eq!(checked.findings.len(), 1, "{}", checked.text);
        assert_eq!(checked.findings[0]["path"], "tables.account.fields.phone");
    })
    .await
    .unwrap();
    dataverse.shutdown().await;
}
