//! `tables.*`: which columns of a table travel, and where to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ack::AckColumns;
use super::field::{Field, Reads};
use super::finding::Findings;
use super::operations::{Operations, TableTargetFile};
use crate::policy::{RetryPolicy, RetrySettings};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TableFile {
    entity_set: String,
    primary_key: String,
    fields: BTreeMap<String, Field>,
    #[serde(default)]
    nulls: NullPolicy,
    #[serde(default)]
    requires: Vec<Requirement>,
    target: TableTargetFile,
    #[serde(default)]
    on_delete: DeletePolicy,
    #[serde(default)]
    pub(super) acknowledgement: AckColumns,
    retry: Option<RetrySettings>,
    #[serde(default)]
    log_columns: Vec<String>,
}

/// What a deleted row means for the target: `"delete"`, `"ignore"`, or `{"deactivate": {..}}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The navigation property of the lookup that leads there, e.g. `parentcustomerid_account`. A lookup
    /// that leads nowhere requires nothing.
    pub lookup: String,
    /// The table it leads to, which must travel as well.
    pub table: String,
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
        let own = |reads| match reads {
            Reads::Own(column) => Some(column),
            Reads::Related { .. } => None,
        };
        let reads = self.fields.values().filter_map(Field::reads);
        let mut columns: Vec<&str> = reads.filter_map(own).collect();
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
        for reads in self.fields.values().filter_map(Field::reads) {
            if let Reads::Related { navigation, column } = reads {
                expand.entry(navigation).or_default().insert(column);
            }
        }
        expand
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl TableFile {
    pub(super) fn check(
        self,
        name: String,
        default_policy: Option<&RetryPolicy>,
        tables: &BTreeSet<String>,
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
        if self.fields.is_empty() {
            findings.add("fields", "is empty: nothing would be sent");
        }
        let mut below = findings.below("fields");
        for (member, field) in &self.fields {
            if let Some(reads) = field.reads() {
                check_reads(reads, &self.acknowledgement, &mut below.below(member));
            }
        }
        for (place, requirement) in self.requires.iter().enumerate() {
            requirement.check(tables, &mut findings.below(&format!("requires.{place}")));
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
            fields: self.fields,
            nulls: self.nulls,
            requires: self.requires,
            target: target?,
            on_delete: self.on_delete,
            ack: self.acknowledgement,
            policy: policy?,
            log_columns: self.log_columns,
        })
    }
}

fn check_reads(reads: Reads<'_>, ack: &AckColumns, findings: &mut Findings<'_>) {
    match reads {
        // An acknowledgement column in the payload would make every acknowledgement a change.
        Reads::Own(column) if ack.all().contains(&column) => findings.note(format!(
            "uses {column}, which is one of the integration's own columns"
        )),
        Reads::Own(column) if !is_name(column) => {
            findings.note(format!("is {column:?}, which is no column, e.g. \"name\""));
        }
        Reads::Related { navigation, column } if !is_name(navigation) || !is_name(column) => {
            findings.note(format!(
                "is \"{navigation}/{column}\", but must be one lookup and one column, e.g. \"primarycontactid/emailaddress1\""
            ));
        }
        Reads::Related { navigation, .. } => check_navigation(navigation, findings),
        Reads::Own(_) => {}
    }
}

fn check_navigation(navigation: &str, findings: &mut Findings<'_>) {
    let name = navigation
        .strip_prefix('_')
        .and_then(|n| n.strip_suffix("_value"));
    if let Some(name) = name {
        findings.note(format!(
            "follows {navigation}, but a lookup is followed by its navigation property, e.g. {name:?}"
        ));
    }
}

impl Requirement {
    fn check(&self, tables: &BTreeSet<String>, findings: &mut Findings<'_>) {
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
        if !tables.contains(&self.table) {
            findings.add(
                "table",
                format!("is {:?}, which is none of tables", self.table),
            );
        }
    }
}
