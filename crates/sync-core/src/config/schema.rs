//! The JSON Schema of `sync.json`, for editors: made from the types that read the file.

use serde_json::Value;

use super::file::SyncFile;

/// The schema (JSON Schema 2020-12), as it stands in `sync.schema.json`.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(SyncFile).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sync.schema.json");

    #[test]
    fn the_checked_in_schema_is_the_one_the_types_make() {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(FILE, &text).unwrap();
        }
        let checked_in = std::fs::read_to_string(FILE).unwrap();
        assert!(
            checked_in == text,
            "sync.schema.json is out of date: UPDATE_GOLDEN=1 cargo test --workspace --lib schema"
        );
    }

    #[test]
    fn the_shipped_file_and_every_form_fit_the_schema_and_mistakes_do_not() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let shipped: Value = serde_json::from_str(include_str!("../../../../sync.json")).unwrap();
        assert!(validator.is_valid(&shipped));
        let with = |field: Value| {
            let mut file = shipped.clone();
            file["tables"]["account"]["fields"]["name"] = field;
            validator.is_valid(&file)
        };
        for field in [
            serde_json::json!({"column": "c", "ifNull": {"value": 1}}),
            serde_json::json!({"object": {"a": {"object": {"b": {"constant": null}}}}}),
        ] {
            assert!(with(field.clone()), "{field}");
        }
        for field in [
            serde_json::json!(7),
            serde_json::json!({"colum": "c"}),
            serde_json::json!({"column": "c", "money": {"decimals": "2"}}),
            serde_json::json!({"object": {"a": {"object": {"b": 7}}}}),
        ] {
            assert!(!with(field.clone()), "{field}");
        }
    }
}
