//! From a row to the target's payload. Pure.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{Field, Reads, TableConfig};
use crate::failure::{Failure, Stage};

/// What the target is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// The JSON object.
    pub body: Map<String, Value>,
    /// SHA-256 of the serialised object, hex.
    pub hash: String,
}

/// Maps the selected columns of a row. A column behind a lookup that leads nowhere is null.
///
/// # Errors
/// A failure of class config that names the column when a selected column did not come back: it was
/// renamed, or the identity may not read it. Retrying the row cannot help; repairing the app does.
pub fn map(table: &TableConfig, columns: &Map<String, Value>) -> Result<Payload, Failure> {
    let mut body = Map::new();
    for (member, field) in &table.fields {
        let value = match field {
            Field::Constant(c) => c.constant.clone(),
            Field::Column(name) => column(field, columns).cloned().ok_or_else(|| {
                Failure::config(
                    Stage::Map,
                    "ColumnMissing",
                    format!(
                        "Dataverse did not return column {name} of {}. Check tables.{}.fields.{member} in sync.json and the read right of the app user on that column.",
                        table.name, table.name
                    ),
                )
            })?,
        };
        body.insert(member.clone(), value);
    }
    Ok(Payload {
        hash: hash(&body),
        body,
    })
}

fn column<'a>(field: &Field, columns: &'a Map<String, Value>) -> Option<&'a Value> {
    match field.reads()? {
        Reads::Own(name) => columns.get(name),
        Reads::Related { navigation, column } => match columns.get(navigation)? {
            Value::Null => Some(&Value::Null),
            row => row.get(column),
        },
    }
}

fn hash(body: &Map<String, Value>) -> String {
    // Writing a map of JSON values to memory cannot fail; the text is stable because the members are
    // inserted in the order of their names.
    let text = Value::Object(body.clone()).to_string();
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::SyncConfig;

    fn row() -> Map<String, Value> {
        let row = json!({"firstname": "Jo", "lastname": "Doe", "emailaddress1": null, "telephone1": "1",
            "jobtitle": null, "_parentcustomerid_value": null, "versionnumber": 7});
        row.as_object().unwrap().clone()
    }

    #[test]
    fn null_columns_travel_as_null_and_constants_as_written() {
        let config = SyncConfig::parse(include_str!("../../../sync.json"), "sync.json").unwrap();
        let payload = map(&config.tables["contact"], &row()).unwrap();
        assert_eq!(
            Value::Object(payload.body.clone()),
            json!({"customer": null, "email": null, "firstName": "Jo", "jobTitle": null, "lastName": "Doe",
                "phone": "1", "source": "dynamics365"})
        );
        assert_eq!(payload, map(&config.tables["contact"], &row()).unwrap());
    }

    #[test]
    fn a_column_behind_a_lookup_travels_and_is_null_where_the_lookup_is() {
        let text = include_str!("../../../sync.json").replacen(
            "\"lastname\"",
            "\"parentcustomerid_account/name\"",
            1,
        );
        let config = SyncConfig::parse(&text, "sync.json").unwrap();
        let last_name = |related: Option<Value>| {
            let mut columns = row();
            if let Some(related) = related {
                columns.insert("parentcustomerid_account".into(), related);
            }
            map(&config.tables["contact"], &columns).map(|p| p.body["lastName"].clone())
        };
        let account = json!({"name": "A. Datum", "accountid": "x"});
        assert_eq!(last_name(Some(account)), Ok(json!("A. Datum")));
        assert_eq!(last_name(Some(json!({"name": null}))), Ok(Value::Null));
        assert_eq!(last_name(Some(Value::Null)), Ok(Value::Null));
        for absent in [None, Some(json!({}))] {
            let failure = last_name(absent).unwrap_err();
            assert_eq!(failure.class, crate::failure::Class::Config);
            assert!(failure.message.contains("parentcustomerid_account/name"));
        }
    }

    #[test]
    fn a_column_that_did_not_come_back_is_a_config_failure_that_names_it() {
        let config = SyncConfig::parse(include_str!("../../../sync.json"), "sync.json").unwrap();
        let mut columns = row();
        columns.remove("jobtitle");
        let failure = map(&config.tables["contact"], &columns).unwrap_err();
        assert_eq!(failure.class, crate::failure::Class::Config);
        assert!(
            failure.message.contains("column jobtitle of contact"),
            "{failure}"
        );
    }
}
