//! The part on `sync.json`, from its schema: a section for each object, with an example made of its members'
//! examples. Each example and each bound is tried on the app's own reader.

mod schema;

use serde_json::{Map, Value, json};
use sync_core::config::SyncConfig;

use super::markdown::{code, link, prose, table};
use schema::{Schema, Section, Shape};

pub(super) fn document() -> String {
    let schema = Schema::new();
    let sections = schema.sections();
    let mut text = String::from(
        "## The sync file\n\n\
         `sync.json`: what travels to one target system. An editor completes and checks it by [sync.schema.json](../sync.schema.json); \
         [sync.json](../sync.json) is one, [mapping.md](mapping.md) explains fields. Keys are exact; an unknown one is refused. \
         Where nothing else is said, text is text and `*` stands for any name.\n\n",
    );
    let rows: Vec<_> = sections
        .iter()
        .map(|section| {
            let keys: Vec<_> = match &section.shape {
                Shape::Object(node) => schema::members(node).map(|(key, _)| code(key)).collect(),
                Shape::Union(variants) => variants.iter().map(|v| schema.label(v)).collect(),
            };
            [link(&section.title(), &section.title()), keys.join(", ")]
        })
        .collect();
    text.push_str(&table(["", "keys or forms"], &rows));
    for section in &sections {
        text.push_str(&format!("\n### {}\n\n", section.title()));
        if section.paths.len() > 1 {
            let also: Vec<_> = section.paths[1..].iter().map(|path| code(path)).collect();
            text.push_str(&format!("Also {}.\n\n", also.join(", ")));
        }
        text.push_str(&format!("{}\n\n", prose(&section.meaning)));
        match &section.shape {
            Shape::Object(node) => text.push_str(&members(&schema, &sections, node)),
            Shape::Union(variants) => text.push_str(&forms(&schema, &sections, variants)),
        }
        if let (Shape::Object(node), false) = (&section.shape, section.path.is_empty()) {
            let example = schema.example(node);
            let pretty = serde_json::to_string_pretty(&example).unwrap();
            text.push_str(&format!("\n```json\n{pretty}\n```\n"));
        }
    }
    text
}

fn members(schema: &Schema, sections: &[Section], node: &Value) -> String {
    let rows: Vec<_> = schema::members(node)
        .map(|(key, member)| {
            [
                code(key),
                schema.kind(sections, member),
                default(node, key, member),
                prose(&schema.meaning(member)),
            ]
        })
        .collect();
    table(["key", "value", "default", "meaning"], &rows)
}

fn default(node: &Value, key: &str, member: &Value) -> String {
    let required = node["required"].as_array().into_iter().flatten();
    if required.into_iter().any(|name| name == key) {
        return "**required**".into();
    }
    match &member["default"] {
        Value::Null if member.get("$ref").is_some() => "its keys' defaults".into(),
        Value::Null => "none".into(),
        value => match value.to_string() {
            text if text.len() > 60 => "its keys' defaults".into(),
            text => code(text.strip_suffix(".0").unwrap_or(&text)),
        },
    }
}

fn forms(schema: &Schema, sections: &[Section], variants: &[Value]) -> String {
    let mut rows = Vec::new();
    let mut details = String::new();
    for variant in variants {
        let meaning = prose(&schema.meaning(variant));
        let label = match schema.section_of(sections, variant) {
            Some(section) => link(&schema.label(variant), &section.title()),
            None => schema.label(variant),
        };
        if schema::members(variant).count() > 1 {
            details.push_str(&format!("\nWith {}:\n\n", schema.label(variant)));
            details.push_str(&members(schema, sections, variant));
            let example = schema.example(variant);
            details.push_str(&format!("\n```json\n{example}\n```\n"));
        }
        rows.push([label, meaning]);
    }
    table(["form", "meaning"], &rows) + &details
}

/// A whole file in which every key has its example, and every form of a field is there.
fn whole(schema: &Schema, sections: &[Section]) -> Value {
    let mut file = schema.example(&schema.root);
    let account: Value = serde_json::from_str(&super::read("sync.json")).unwrap();
    file["tables"]["account"] = account["tables"]["account"].clone();
    // The richest form, so that there is a place for everything below it.
    for section in sections {
        if let Shape::Union(forms) = &section.shape
            && let Some(form) = forms
                .iter()
                .max_by_key(|form| schema::members(form).count())
            && schema::members(form).count() > 1
        {
            *at(&mut file, &section.path) = schema.example(form);
        }
    }
    for section in sections.iter().filter(|s| s.is_field) {
        if let Shape::Object(node) = &section.shape {
            *at(&mut file, &section.path) = schema.example(node);
        }
    }
    file
}

fn at<'a>(file: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter()
        .fold(file, |node, key| match key.parse::<usize>() {
            Ok(place) if node.is_array() => &mut node[place],
            _ => {
                if !node.is_object() {
                    *node = Value::Object(Map::new());
                }
                &mut node[key.as_str()]
            }
        })
}

fn parse(file: &Value) -> Result<(), String> {
    let parsed = SyncConfig::parse(&file.to_string(), "sync.json");
    parsed.map(drop).map_err(|e| e.to_string())
}

#[test]
fn the_apps_take_every_example_and_every_form() {
    let schema = Schema::new();
    let sections = schema.sections();
    let whole = whole(&schema, &sections);
    parse(&whole).unwrap();
    let mut tried = 0;
    for section in &sections {
        let Shape::Union(variants) = &section.shape else {
            continue;
        };
        for variant in variants {
            let mut file = whole.clone();
            let example = schema.example(variant);
            *at(&mut file, &section.path) = example.clone();
            parse(&file).unwrap_or_else(|e| panic!("{} {example}: {e}", section.title()));
            tried += 1;
        }
    }
    assert!(tried > 25, "{tried}");
}

#[test]
fn the_apps_refuse_what_is_beyond_a_bound_and_take_what_is_at_it() {
    let schema = Schema::new();
    let sections = schema.sections();
    let mut whole = whole(&schema, &sections);
    // What must not be less than something else is out of the way.
    for table in ["", "tables.contact"] {
        let mut path: Vec<String> = table
            .split('.')
            .filter(|k| !k.is_empty())
            .map(Into::into)
            .collect();
        path.push("retry".into());
        at(&mut whole, &path)["baseSeconds"] = json!(0.01);
        at(&mut whole, &path)["capSeconds"] = json!(2_592_000);
    }
    whole["breaker"]["openSeconds"] = json!(0.1);
    whole["breaker"]["maxOpenSeconds"] = json!(3_600);
    let mut tried = 0;
    for section in &sections {
        let Shape::Object(node) = &section.shape else {
            continue;
        };
        for (key, member) in schema::members(node) {
            let is_whole = schema::is(member, "integer");
            let step = if is_whole { 1.0 } else { 0.0001 };
            for (bound, beyond) in [("minimum", -step), ("maximum", step)] {
                let Some(bound) = member[bound].as_f64() else {
                    continue;
                };
                let with = |value: f64| {
                    let mut file = whole.clone();
                    let number = if is_whole {
                        json!(value as i64)
                    } else {
                        json!(value)
                    };
                    at(&mut file, &section.path)[key] = number;
                    parse(&file)
                };
                let name = format!("{}.{key}", section.path.join("."));
                with(bound).unwrap_or_else(|e| panic!("{name} = {bound}: {e}"));
                let refusal = with(bound + beyond).expect_err(&format!("{name} beyond {bound}"));
                assert!(refusal.contains(key), "{name}: {refusal}");
                tried += 1;
            }
        }
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn calls_default_to_what_their_comments_say() {
    let mut file: Value = serde_json::from_str(&super::read("sync.json")).unwrap();
    let path = "/customers/{sourceRowId}";
    let find = json!({"path": "/customers?id={sourceRowId}", "id": "/0/id"});
    file["tables"]["account"]["target"] =
        json!({"path": path, "find": find, "create": {"path": "/customers"}});
    let config = SyncConfig::parse(&file.to_string(), "sync.json").unwrap();
    let calls = &config.tables["account"].target;
    let found = calls.find.as_ref().unwrap();
    let methods = [&calls.write, &calls.delete, &found.create].map(|call| call.method.as_str());
    assert_eq!(methods, ["PUT", "DELETE", "POST"]);
    let statuses = [199, 200, 299, 300].map(|status| calls.write.success.is(status));
    assert_eq!(statuses, [false, true, true, false]);
    assert_eq!(calls.id.id_in(&json!({"id": 7})).as_deref(), Some("7"));
    let row = uuid::Uuid::nil();
    assert_eq!(
        calls.delete.path.fill(row, None),
        calls.write.path.fill(row, None)
    );
}
