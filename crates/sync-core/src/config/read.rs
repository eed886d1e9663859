//! From text to a typed file, with everything that does not fit found at once.
//!
//! A deserialiser stops at the first value it cannot take. Here that value is noted and left out, and
//! the rest is read again, until everything fits or nothing can be left out any more.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::finding::Findings;

/// More than anybody reads at once.
const MOST: usize = 100;

/// Reads JSON text; `None` after findings.
pub(super) fn text<T: DeserializeOwned>(text: &str, findings: &mut Findings<'_>) -> Option<T> {
    match serde_json::from_str(text) {
        Ok(json) => value(json, findings),
        Err(e) => {
            findings.note(format!("is no JSON: {e}"));
            None
        }
    }
}

/// Reads a JSON value; `None` after findings.
pub(super) fn value<T: DeserializeOwned>(
    mut json: Value,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let mut left_out = BTreeSet::new();
    let mut clean = true;
    for _ in 0..MOST {
        let error = match serde_path_to_error::deserialize::<_, T>(&json) {
            Ok(read) if clean => return Some(read),
            Ok(_) => return None,
            Err(error) => error,
        };
        clean = false;
        let path: Vec<String> = keys(error.path());
        let problem = error.inner().to_string();
        // A value that was left out is missed by what it stood in: that says nothing new.
        let missed = missing(&problem).map(|name| [&path[..], &[name.to_owned()]].concat());
        if !missed.is_some_and(|path| left_out.contains(&path)) {
            findings.add(&path.join("."), explained(&problem));
        }
        if path.is_empty() || !remove(&mut json, &path) {
            return None;
        }
        left_out.insert(path);
    }
    None
}

fn keys(path: &Path) -> Vec<String> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn remove(json: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let mut at = json;
    for key in parents {
        let next = match at {
            Value::Object(members) => members.get_mut(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            _ => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match at {
        Value::Object(members) => members.shift_remove(last).is_some(),
        Value::Array(items) => match last.parse::<usize>() {
            Ok(i) if i < items.len() => {
                items.remove(i);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The member that serde misses.
fn missing(problem: &str) -> Option<&str> {
    let name = problem.strip_prefix("missing field `")?;
    name.split('`').next()
}

/// serde's words as a sentence about the key.
fn explained(problem: &str) -> String {
    if let Some(rest) = problem.strip_prefix("unknown field ") {
        let known = rest.split_once(", expected ").map(|(_, known)| known);
        return match known {
            Some(known) => format!("is no setting here; it would be {known}"),
            None => "is no setting here".into(),
        };
    }
    if let Some(name) = missing(problem) {
        return format!("lacks {name:?}");
    }
    format!("is not usable: {problem}")
}
