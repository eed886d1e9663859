//! The schema of `sync.json`, walked from its root.

use serde_json::{Value, json};

use crate::markdown::{code, link};

pub(super) struct Schema {
    pub(super) root: Value,
}

/// What gets a section of its own.
pub(super) struct Section {
    /// Where it may stand, `*` for any name.
    pub(super) paths: Vec<String>,
    /// Where it stands in the whole example.
    pub(super) path: Vec<String>,
    /// The definition's name; empty for the root.
    name: String,
    pub(super) meaning: String,
    pub(super) shape: Shape,
    /// Whether it is a form of a field.
    pub(super) is_field: bool,
}

pub(super) enum Shape {
    /// An object with these members.
    Object(Value),
    /// One of these.
    Union(Vec<Value>),
}

impl Section {
    pub(super) fn title(&self) -> String {
        match (self.path.is_empty(), self.is_field) {
            (true, _) => "`sync.json`".into(),
            (_, true) => format!("A field: `{}`", self.path.last().map_or("", String::as_str)),
            _ => code(&self.paths[0]),
        }
    }
}

/// Members of an object, each under its key.
pub(super) fn members(node: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = node["properties"].as_object().into_iter().flatten();
    members.map(|(key, member)| (key.as_str(), member))
}

/// Whether a value may be of this type.
pub(super) fn is(node: &Value, kind: &str) -> bool {
    let kinds = &node["type"];
    kinds == kind || kinds.as_array().into_iter().flatten().any(|k| k == kind)
}

fn variants(node: &Value) -> Option<&Vec<Value>> {
    node["oneOf"].as_array().or(node["anyOf"].as_array())
}

fn reference(node: &Value) -> Option<&str> {
    let direct = node["$ref"].as_str();
    // An `Option` of a definition.
    let optional = node["anyOf"].as_array().filter(|all| all.len() == 2);
    let optional = optional.filter(|all| all[1]["type"] == "null");
    direct
        .or_else(|| optional.and_then(|all| all[0]["$ref"].as_str()))
        .and_then(|path| path.strip_prefix("#/$defs/"))
}

impl Schema {
    pub(super) fn new() -> Self {
        let root = sync_core::config::schema();
        Self { root }
    }

    fn definition(&self, name: &str) -> &Value {
        &self.root["$defs"][name]
    }

    /// The node itself, or the definition that it refers to.
    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        reference(node).map_or(node, |name| self.definition(name))
    }

    pub(super) fn meaning(&self, node: &Value) -> String {
        let own = node["description"].as_str();
        let own = own.or_else(|| self.resolve(node)["description"].as_str());
        own.unwrap_or_default().to_owned()
    }

    /// All sections, in the order of the file.
    pub(super) fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        self.walk(
            &self.root,
            "",
            String::new(),
            Vec::new(),
            false,
            &mut sections,
        );
        sections
    }

    fn walk(
        &self,
        node: &Value,
        name: &str,
        shown: String,
        path: Vec<String>,
        is_field: bool,
        sections: &mut Vec<Section>,
    ) {
        if let Some(known) = sections.iter_mut().find(|s| s.name == name) {
            if !known.paths.contains(&shown) && !known.is_field && known.name != "FieldFile" {
                known.paths.push(shown);
            }
            return;
        }
        let shape = match variants(node) {
            Some(variants) => Shape::Union(variants.clone()),
            None if node["enum"].is_array() => Shape::Union(
                node["enum"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|v| json!({"const": v}))
                    .collect(),
            ),
            None => Shape::Object(node.clone()),
        };
        sections.push(Section {
            paths: vec![shown.clone()],
            path: path.clone(),
            name: name.to_owned(),
            meaning: self.meaning(node),
            shape,
            is_field,
        });
        let below = |key: &str| match shown.as_str() {
            "" => key.to_owned(),
            _ => format!("{shown}.{key}"),
        };
        let and = |keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_owned());
            path.iter().cloned().chain(keys).collect::<Vec<_>>()
        };
        let forms = variants(node).into_iter().flatten().flat_map(members);
        for (key, member) in members(node).chain(forms) {
            if let Some(name) = reference(member) {
                self.walk(
                    self.definition(name),
                    name,
                    below(key),
                    and(&[key]),
                    false,
                    sections,
                );
            } else if let Some(name) = reference(&member["additionalProperties"]) {
                let shown = below(&format!("{key}.*"));
                let example = self.example(member);
                let any = example.as_object().and_then(|all| all.keys().next());
                let any = any.map_or("any", String::as_str);
                self.walk(
                    self.definition(name),
                    name,
                    shown,
                    and(&[key, any]),
                    false,
                    sections,
                );
            } else if let Some(name) = reference(&member["items"]) {
                let shown = below(&format!("{key}.*"));
                self.walk(
                    self.definition(name),
                    name,
                    shown,
                    and(&[key, "0"]),
                    false,
                    sections,
                );
            }
        }
        if name == "FieldFile" {
            let table = &path[..path.len() - 1];
            for variant in variants(node).into_iter().flatten() {
                let Some(name) = reference(variant) else {
                    continue;
                };
                let form = self.form(variant);
                let path = table.iter().cloned().chain([form]).collect();
                self.walk(
                    self.definition(name),
                    name,
                    shown.clone(),
                    path,
                    true,
                    sections,
                );
            }
        }
    }

    /// The member that tells this form of a field from the others.
    fn form(&self, variant: &Value) -> String {
        let keys: Vec<_> = members(self.resolve(variant))
            .map(|(key, _)| key.to_owned())
            .collect();
        let common = ["column", "default", "ifNull", "reads"];
        let own = keys.iter().find(|key| !common.contains(&key.as_str()));
        own.unwrap_or(&keys[0]).clone()
    }

    pub(super) fn section_of<'a>(&self, all: &'a [Section], node: &Value) -> Option<&'a Section> {
        let name = reference(node)?;
        all.iter().find(|section| section.name == name)
    }

    /// What a form of a union is called.
    pub(super) fn label(&self, variant: &Value) -> String {
        if reference(variant).is_some() {
            return format!("`{{\"{}\": …}}`", self.form(variant));
        }
        if let Some(kind) = variant["properties"]["kind"]["const"].as_str() {
            return format!("`{{\"kind\": \"{kind}\"}}`");
        }
        if let Some((key, _)) = members(variant).next() {
            return format!("`{{\"{key}\": …}}`");
        }
        match &variant["const"] {
            Value::Null => "a text".into(),
            value => code(&value.to_string()),
        }
    }

    /// What a value looks like, and its bounds.
    pub(super) fn kind(&self, sections: &[Section], node: &Value) -> String {
        let or_null = if is(node, "null") || node["anyOf"].is_array() {
            " or null"
        } else {
            ""
        };
        if let Some(section) = self.section_of(sections, node) {
            let text = match &section.shape {
                Shape::Object(_) => "object".to_owned(),
                Shape::Union(_) if section.name == "FieldFile" => "field".into(),
                Shape::Union(variants) => match variants.iter().all(|v| v["const"].is_string()) {
                    true => variants
                        .iter()
                        .map(|v| self.label(v))
                        .collect::<Vec<_>>()
                        .join(", "),
                    false => "one of several forms".into(),
                },
            };
            return link(&text, &section.title()) + or_null;
        }
        if let Some(items) = node.get("items") {
            return format!("list of {}{or_null}", self.kind(sections, items));
        }
        let bounds = match (node["minimum"].as_f64(), node["maximum"].as_f64()) {
            (Some(least), Some(most)) if most != 65_535.0 => format!(", {least} to {most}"),
            (Some(least), None) => format!(", {least} at least"),
            _ => String::new(),
        };
        let text = if is(node, "string") {
            node["const"]
                .as_str()
                .map_or("text".into(), |text| code(&format!("\"{text}\"")))
        } else if is(node, "integer") {
            format!("whole number{bounds}")
        } else if is(node, "number") {
            format!("number{bounds}")
        } else if is(node, "boolean") {
            "`true` or `false`".into()
        } else if is(node, "object") {
            match &node["additionalProperties"] {
                values @ Value::Object(_) => format!("object of {}", self.kind(sections, values)),
                _ => "object of any values".into(),
            }
        } else {
            "any value".into()
        };
        text + or_null
    }

    /// A value that would do: the example, or what is made of its parts' examples.
    pub(super) fn example(&self, node: &Value) -> Value {
        if let Some(example) = node["examples"].as_array().and_then(|all| all.first()) {
            return example.clone();
        }
        if let Some(value) = node.get("const") {
            return value.clone();
        }
        if let Some(name) = reference(node) {
            return self.example(self.definition(name));
        }
        if let Some(value) = node.get("default").filter(|value| !value.is_null()) {
            return tidy(value);
        }
        if let Some(first) = variants(node)
            .or(node["enum"].as_array())
            .and_then(|all| all.first())
        {
            return if first.is_object() {
                self.example(first)
            } else {
                first.clone()
            };
        }
        if node["properties"].is_object() {
            return members(node)
                .map(|(key, member)| (key.to_owned(), self.example(member)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        if let Some(items) = node.get("items") {
            return json!([self.example(items)]);
        }
        // The one text without an example of its own is a column.
        if is(node, "string") {
            return json!("telephone1");
        }
        match node.get("additionalProperties") {
            Some(values @ Value::Object(_)) => json!({"contact": self.example(values)}),
            _ => json!({"state": "inactive"}),
        }
    }
}

/// A whole number without a point.
fn tidy(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 => json!(number as i64),
        _ => value.clone(),
    }
}
