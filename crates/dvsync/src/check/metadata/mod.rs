//! What a Dataverse environment says of its own tables: read from a file that was saved, or asked for.
//!
//! Wire format: Power Apps docs, "Query table definitions using the Web API". Every answer of
//! `EntityDefinitions` below is a document; a file may hold several, one after the other, as one `curl`
//! with several addresses writes them. What an object is, its own members say.

mod fetch;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

pub(super) use judge::judge;

use super::files::SyncFile;
use crate::dataverse;

/// Tables, by logical name.
#[derive(Debug, Default)]
pub(super) struct Environment(BTreeMap<String, Table>);

#[derive(Debug, Default)]
struct Table {
    set: String,
    primary_key: String,
    columns: BTreeMap<String, Column>,
    /// By navigation property: the lookup's column and the table it leads to.
    navigations: BTreeMap<String, (String, String)>,
}

#[derive(Debug, Default)]
struct Column {
    /// E.g. `String`, `Money`, `MultiSelectPicklist`.
    kind: String,
    readable: bool,
    writable: bool,
    /// `None`: unlimited, or not known.
    max_length: Option<u64>,
    /// Values of a choice; `None` when they were not saved.
    options: Option<BTreeSet<i64>>,
}

impl Environment {
    /// Reads a file, or asks the environment at this address.
    pub(super) async fn read(from: &str, files: &[SyncFile]) -> anyhow::Result<Self> {
        let documents = if from.starts_with("https://") || from.starts_with("http://") {
            let environment = dataverse::Environment::sign_in(from).await?;
            fetch::documents(&environment, files).await?
        } else {
            from_file(Path::new(from))?
        };
        let environment = Self::of(&documents);
        if environment.0.is_empty() {
            bail!("{from} holds no table's definition; `dvsync check --help` says how to save it");
        }
        Ok(environment)
    }

    /// Asks an environment that was signed in to. A table that it does not have is missing here.
    pub(super) async fn ask(
        environment: &dataverse::Environment,
        files: &[SyncFile],
    ) -> anyhow::Result<Self> {
        Ok(Self::of(&fetch::documents(environment, files).await?))
    }

    /// Whether a table has a column.
    pub(super) fn has(&self, table: &str, column: &str) -> bool {
        let table = self.0.get(table);
        table.is_some_and(|table| table.columns.contains_key(column))
    }

    /// Whether an update may set a column.
    pub(super) fn may_write(&self, table: &str, column: &str) -> bool {
        let table = self.0.get(table);
        let column = table.and_then(|table| table.columns.get(column));
        column.is_some_and(|column| column.writable)
    }

    fn of(documents: &[Value]) -> Self {
        let mut environment = Self::default();
        for document in documents {
            environment.take(document);
        }
        environment.0.retain(|_, table| !table.set.is_empty());
        environment
    }

    fn take(&mut self, json: &Value) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.take(item)),
            Value::Object(members) => {
                self.take_one(json);
                for key in ["value", "Attributes", "ManyToOneRelationships"] {
                    if let Some(below) = members.get(key) {
                        self.take(below);
                    }
                }
            }
            _ => {}
        }
    }

    fn take_one(&mut self, json: &Value) {
        let text = |key: &str| json[key].as_str();
        if let (Some(set), Some(name)) = (text("EntitySetName"), text("LogicalName")) {
            let table = self.0.entry(name.to_owned()).or_default();
            set.clone_into(&mut table.set);
            text("PrimaryIdAttribute")
                .unwrap_or_default()
                .clone_into(&mut table.primary_key);
        } else if let (Some(navigation), Some(table)) = (
            text("ReferencingEntityNavigationPropertyName"),
            text("ReferencingEntity"),
        ) {
            let lookup = text("ReferencingAttribute").unwrap_or_default().to_owned();
            let target = text("ReferencedEntity").unwrap_or_default().to_owned();
            let table = self.0.entry(table.to_owned()).or_default();
            table
                .navigations
                .insert(navigation.to_owned(), (lookup, target));
        } else if let (Some(table), Some(name)) = (text("EntityLogicalName"), text("LogicalName")) {
            let table = self.0.entry(table.to_owned()).or_default();
            table.columns.entry(name.to_owned()).or_default().take(json);
        }
    }
}

impl Column {
    /// A column may come twice: once as such, once with its options.
    fn take(&mut self, json: &Value) {
        if let Some(kind) = json["AttributeTypeName"]["Value"].as_str() {
            kind.strip_suffix("Type")
                .unwrap_or(kind)
                .clone_into(&mut self.kind);
            self.readable = json["IsValidForRead"] != Value::Bool(false);
            self.writable = json["IsValidForUpdate"] != Value::Bool(false);
            self.max_length = json["MaxLength"].as_u64();
        }
        for key in ["OptionSet", "GlobalOptionSet"] {
            if let Some(options) = json[key]["Options"].as_array() {
                let values = options.iter().filter_map(|option| option["Value"].as_i64());
                self.options = Some(values.collect());
            }
        }
    }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.trim_start_matches('\u{feff}');
    let documents = serde_json::Deserializer::from_str(text).into_iter();
    documents
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not JSON", path.display()))
}
