//! `tables.*`: which columns of a table travel, and where to.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ack::AckColumns;
use super::field::{self, ColumnPath, Field, FieldFile, Reads, check_navigation};
use super::finding::Findings;
use super::operations::{Operations, TableTargetFile};
use crate::policy::{RetryPolicy, RetrySettings};

/// One table of Dataverse.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TableFile {
    /// The table's entity set name, as it stands in Web API addresses.
    #[schemars(example = &"contacts")]
    entity_set: String,
    /// The column that holds the row's id.
    #[schemars(example = &"contactid")]
    primary_key: String,
    /// The members of the payload, and what each is made of.
    #[schemars(
        with = "BTreeMap<String, FieldFile>",
        example = json!({"lastName": "lastname", "source": {"constant": "dynamics365"}})
    )]
    fields: BTreeMap<String, Value>,
    /// What becomes of a member whose column is null, where the field has no `ifNull`.
    #[serde(default)]
    nulls: NullPolicy,
    /// Rows that the target must hold before one of this table.
    #[serde(default)]
    requires: Vec<RequirementFile>,
    /// The calls that write and delete a row of this table in the target.
    target: TableTargetFile,
    /// What a deleted row means for the target.
    #[serde(default)]
    on_delete: DeletePolicy,
    /// The integration's own columns on this table.
    #[serde(default)]
    pub(super) acknowledgement: AckColumns,
    /// This table's patience, where it differs from the top-level `retry`. It replaces that as a whole.
    retry: Option<RetrySettings>,
    /// Columns whose values may appear in logs, errors and previews. All others never do.
    #[serde(default)]
    #[schemars(example = json!(["jobtitle"]))]
    log_columns: Vec<String>,
}

/// What a deleted row means for the target: `"delete"`, `"ignore"`, or `{"deactivate": {..}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeletePolicy {
    /// The target deletes its row.
    #[default]
    Delete,
    /// The target keeps its row as it is.
    Ignore,
    /// The target keeps its row and is sent these members, by `PATCH`, e.g. `{"state": 1}`.
    Deactivate(Map<String, Value>),
}

/// What becomes of a member whose column is null.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NullPolicy {
    /// It is sent as null.
    #[default]
    Null,
    /// It is left out.
    Omit,
    /// The row is not sent at all: a permanent failure that names the column.
    Reject,
    /// It is sent as this value.
    Value(Value),
}

/// A row that the target must hold before this one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequirementFile {
    /// The navigation property of the lookup that leads there. A lookup that leads nowhere requires nothing.
    #[schemars(example = &"parentcustomerid_account")]
    lookup: String,
    /// The table it leads to, which must be one of `tables`.
    #[schemars(example = &"account")]
    table: String,
}

/// A row that the target must hold before one of this table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The navigation property of the lookup that leads there.
    pub navigation: String,
    /// The table it leads to.
    pub table: String,
    /// The column of that row that holds its key in the target, once it was acknowledged.
    pub target_id: String,
}

/// One table, checked.
#[derive(Debug, Clone)]
pub struct TableConfig {
    /// Logical name, e.g. `account`.
    pub name: String,
    /// Entity set name, e.g. `accounts`.
    pub entity_set: String,
    /// Primary key column, e.g. `accountid`.
    pub primary_key: String,
    /// Members of the target's payload.
    pub fields: BTreeMap<String, Field>,
    /// What becomes of a member whose column is null, where the field does not say.
    pub nulls: NullPolicy,
    /// Rows that the target must hold before one of this table.
    pub requires: Vec<Requirement>,
    /// The calls that write and delete a row.
    pub target: Operations,
    /// What a deleted row means for the target.
    pub on_delete: DeletePolicy,
    /// The integration's own columns.
    pub ack: AckColumns,
    /// Patience.
    pub policy: RetryPolicy,
    /// Columns whose values may appear in logs, errors and previews.
    pub log_columns: Vec<String>,
}

impl TableConfig {
    /// The columns a fetch selects: those of the row itself that the mapping uses, once each, the version,
    /// and the acknowledged version.
    #[must_use]
    pub fn select(&self) -> Vec<&str> {
        let own = |column: &ColumnPath| matches!(column.reads(), Reads::Own(_));
        let read = self.fields.values().flat_map(Field::columns);
        let mut columns: Vec<&str> = read.filter(|c| own(c)).map(ColumnPath::as_str).collect();
        columns.push("versionnumber");
        columns.push(&self.ack.version);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The lookups a fetch follows, by navigation property, each with the columns of the row it leads to.
    #[must_use]
    pub fn expand(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut expand: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for path in self.fields.values().flat_map(Field::columns) {
            if let Reads::Related { navigation, column } = path.reads() {
                expand.entry(navigation).or_default().insert(column);
            }
        }
        for requirement in &self.requires {
            let columns = expand.entry(&requirement.navigation).or_default();
            columns.insert(&requirement.target_id);
        }
        expand
    }

    /// Whether anything in the payload is computed by an expression.
    #[must_use]
    pub fn computes(&self) -> bool {
        self.fields.values().any(Field::computes)
    }
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl TableFile {
    pub(super) fn check(
        self,
        name: String,
        default_policy: Option<&RetryPolicy>,
        acks: &BTreeMap<String, AckColumns>,
        findings: &mut Findings<'_>,
    ) -> Option<TableConfig> {
        for (key, value) in [
            ("entitySet", &self.entity_set),
            ("primaryKey", &self.primary_key),
        ] {
            if !is_name(value) {
                findings.add(key, format!("is {value:?}, which is no Dataverse name"));
            }
        }
        if matches!(&self.on_delete, DeletePolicy::Deactivate(members) if members.is_empty()) {
            findings.add(
                "onDelete.deactivate",
                "is empty, but must hold what tells the target, e.g. {\"state\": 1}",
            );
        }
        let mut below = findings.below("fields");
        let fields = field::members_of(self.fields, &mut below);
        for (member, field) in fields.iter().flatten() {
            for column in field.columns() {
                // An acknowledgement column in the payload would make every acknowledgement a change.
                // That of a related row is fine: its change raises no notification of this one.
                if self.acknowledgement.all().contains(&column.as_str()) {
                    let text = format!(
                        "uses {}, which is one of the integration's own columns",
                        column.as_str()
                    );
                    below.add(member, text);
                }
            }
        }
        let mut requires = Vec::new();
        for (place, requirement) in self.requires.into_iter().enumerate() {
            let mut below = findings.below(&format!("requires.{place}"));
            requires.extend(requirement.check(acks, &mut below));
        }
        for (place, column) in self.log_columns.iter().enumerate() {
            if !is_name(column) {
                findings.add(
                    &format!("logColumns.{place}"),
                    format!("is {column:?}, which is no column, e.g. \"accountnumber\""),
                );
            }
        }
        let policy = match &self.retry {
            None => default_policy.cloned(),
            Some(retry) => findings.keep(RetryPolicy::try_from(retry)),
        };
        let target = self.target.check(&mut findings.below("target"));
        Some(TableConfig {
            name,
            entity_set: self.entity_set,
            primary_key: self.primary_key,
            fields: fields?,
            nulls: self.nulls,
            requires,
            target: target?,
            on_delete: self.on_delete,
            ack: self.acknowledgement,
            policy: policy?,
            log_columns: self.log_columns,
        })
    }
}

impl RequirementFile {
    fn check(
        self,
        acks: &BTreeMap<String, AckColumns>,
        findings: &mut Findings<'_>,
    ) -> Option<Requirement> {
        if is_name(&self.lookup) {
            check_navigation(&self.lookup, &mut findings.below("lookup"));
        } else {
            findings.add(
                "lookup",
                format!(
                    "is {:?}, which is no navigation property, e.g. \"parentcustomerid_account\"",
                    self.lookup
                ),
            );
        }
        let Some(ack) = acks.get(&self.table) else {
            let known: Vec<_> = acks.keys().map(String::as_str).collect();
            findings.add(
                "table",
                format!(
                    "is {:?}, which does not travel; tables has {}",
                    self.table,
                    known.join(", ")
                ),
            );
            return None;
        };
        Some(Requirement {
            navigation: self.lookup,
            table: self.table,
            target_id: ack.target_id.clone(),
        })
    }
}
