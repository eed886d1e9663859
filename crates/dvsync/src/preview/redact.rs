//! A payload without what may not be seen: values of columns that `logColumns` does not list.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sync_core::config::{Field, TableConfig};

/// The payload, with `"<column>"` in the place of each value that may not be seen.
pub(super) fn body(
    table: &TableConfig,
    body: &Map<String, Value>,
    show: bool,
) -> Map<String, Value> {
    if show {
        return body.clone();
    }
    members(table, &table.fields, body)
}

fn members(
    table: &TableConfig,
    fields: &BTreeMap<String, Field>,
    body: &Map<String, Value>,
) -> Map<String, Value> {
    let redacted = |(member, value): (&String, &Value)| {
        let value = match (fields.get(member), value) {
            (Some(Field::Constant(_)), value) => value.clone(),
            (Some(Field::Object(below)), Value::Object(value)) => {
                Value::Object(members(table, below, value))
            }
            (Some(field), value) => {
                let columns: Vec<&str> = field.columns().iter().map(|c| c.as_str()).collect();
                let seen = |column: &&str| table.log_columns.iter().any(|known| known == column);
                if columns.iter().all(seen) {
                    value.clone()
                } else {
                    Value::String(format!("<{}>", columns.join(", ")))
                }
            }
            (None, _) => Value::String("<?>".to_owned()),
        };
        (member.clone(), value)
    };
    body.iter().map(redacted).collect()
}

/// Every value below, by its path, e.g. `address.city`.
pub(super) fn flat(body: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    collect("", body, &mut all);
    all
}

fn collect(above: &str, body: &Map<String, Value>, all: &mut BTreeMap<String, Value>) {
    for (member, value) in body {
        let path = format!("{above}{member}");
        match value {
            Value::Object(below) if !below.is_empty() => collect(&format!("{path}."), below, all),
            _ => {
                all.insert(path, value.clone());
            }
        }
    }
}
