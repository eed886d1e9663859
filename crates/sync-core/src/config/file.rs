//! The shape of `sync.json` on disk, and its check into [`SyncConfig`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ROW_ID, SyncConfig, TableConfig, TargetConfig};
use crate::breaker::BreakerSettings;
use crate::policy::{RetryPolicy, RetrySettings};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SyncFile {
    target_system: String,
    #[serde(default)]
    target: TargetFile,
    #[serde(default = "yes")]
    acknowledge_rejections: bool,
    #[serde(default)]
    retry: RetrySettings,
    #[serde(default)]
    breaker: BreakerSettings,
    tables: BTreeMap<String, TableFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TargetFile {
    api_key_header: String,
    timeout_seconds: f64,
}

impl Default for TargetFile {
    fn default() -> Self {
        Self {
            api_key_header: "x-api-key".into(),
            timeout_seconds: 20.0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TableFile {
    entity_set: String,
    primary_key: String,
    fields: BTreeMap<String, Field>,
    target: TableTarget,
    #[serde(default)]
    on_delete: DeletePolicy,
    #[serde(default)]
    acknowledgement: AckColumns,
    retry: Option<RetrySettings>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TableTarget {
    path: String,
    #[serde(default = "id")]
    id_member: String,
}

/// Where a member of the payload comes from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Field {
    /// The value of a column, by its Web API name (a lookup is `_x_value`); or, as
    /// `primarycontactid/emailaddress1`, of a column of the row that a lookup leads to. What stands before
    /// the slash is the lookup's navigation property, whose case matters.
    Column(String),
    /// Always the same value.
    Constant(Constant),
}

/// Always the same value.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The value.
    pub constant: Value,
}

/// What a field reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads<'a> {
    /// A column of the row itself.
    Own(&'a str),
    /// A column of the row a lookup leads to.
    Related {
        /// The lookup's navigation property.
        navigation: &'a str,
        /// The column.
        column: &'a str,
    },
}

impl Field {
    /// What it reads, if anything.
    #[must_use]
    pub fn reads(&self) -> Option<Reads<'_>> {
        match self {
            Self::Column(path) => Some(match path.split_once('/') {
                Some((navigation, column)) => Reads::Related { navigation, column },
                None => Reads::Own(path),
            }),
            Self::Constant(_) => None,
        }
    }
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

/// The integration's own columns on a source table. None of them may trigger a notification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AckColumns {
    /// The row's key in the target.
    pub target_id: String,
    /// 0 none, 1 delivered, 2 deleted, 3 rejected.
    pub state: String,
    /// Newest version a delivered snapshot was acknowledged at, decimal text.
    pub version: String,
    /// Why the last notification was rejected; null when it was not.
    pub error: String,
    /// When the target's answer was processed.
    pub acknowledged_on: String,
    /// Hash of the delivered payload.
    pub payload_hash: String,
    /// Correlation id of the change.
    pub correlation_id: String,
}

impl Default for AckColumns {
    fn default() -> Self {
        Self {
            target_id: "dvs_targetid".into(),
            state: "dvs_ackstate".into(),
            version: "dvs_ackversion".into(),
            error: "dvs_ackerror".into(),
            acknowledged_on: "dvs_ackon".into(),
            payload_hash: "dvs_ackhash".into(),
            correlation_id: "dvs_correlationid".into(),
        }
    }
}

impl AckColumns {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&str; 7] {
        [
            &self.target_id,
            &self.state,
            &self.version,
            &self.error,
            &self.acknowledged_on,
            &self.payload_hash,
            &self.correlation_id,
        ]
    }
}

fn yes() -> bool {
    true
}

fn id() -> String {
    "id".into()
}

impl SyncFile {
    pub(super) fn check(self) -> Result<SyncConfig, Vec<String>> {
        let mut findings = Vec::new();
        let default_policy = keep(RetryPolicy::try_from(&self.retry), &mut findings);
        keep(self.breaker.check(), &mut findings);
        let api_key_header = keep(
            self.target
                .api_key_header
                .parse::<http::HeaderName>()
                .map_err(|_| {
                    format!(
                        "target.apiKeyHeader is {:?}, which is no header name, e.g. \"x-api-key\"",
                        self.target.api_key_header
                    )
                }),
            &mut findings,
        );
        let seconds = self.target.timeout_seconds;
        if !(0.1..=230.0).contains(&seconds) {
            findings.push(format!(
                "target.timeoutSeconds is {seconds}, but must be between 0.1 and 230"
            ));
        }
        if self.target_system.is_empty() {
            findings.push("targetSystem is empty, e.g. \"customer-api\"".into());
        }
        if self.tables.is_empty() {
            findings.push("tables is empty: nothing would travel".into());
        }
        let mut tables = BTreeMap::new();
        for (name, table) in self.tables {
            let policy = table.retry.as_ref().map(RetryPolicy::try_from);
            let policy = match policy {
                None => default_policy.clone(),
                Some(policy) => keep(
                    policy.map_err(|e| format!("tables.{name}.{e}")),
                    &mut findings,
                ),
            };
            table.check(&name, &mut findings);
            if let Some(policy) = policy {
                tables.insert(name.clone(), Arc::new(table.into_config(name, policy)));
            }
        }
        match (default_policy, api_key_header) {
            (Some(default_policy), Some(api_key_header)) if findings.is_empty() => Ok(SyncConfig {
                target_system: self.target_system,
                target: TargetConfig {
                    api_key_header,
                    timeout: Duration::from_secs_f64(seconds),
                },
                acknowledge_rejections: self.acknowledge_rejections,
                default_policy,
                breaker: self.breaker,
                tables,
            }),
            _ => Err(findings),
        }
    }
}

fn keep<T, E: ToString>(result: Result<T, E>, findings: &mut Vec<String>) -> Option<T> {
    result.map_err(|e| findings.push(e.to_string())).ok()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl TableFile {
    fn check(&self, name: &str, findings: &mut Vec<String>) {
        for (key, value) in [
            ("entitySet", &self.entity_set),
            ("primaryKey", &self.primary_key),
        ] {
            if !is_name(value) {
                findings.push(format!(
                    "tables.{name}.{key} is {value:?}, which is no Dataverse name"
                ));
            }
        }
        if !self.target.path.starts_with('/') || !self.target.path.contains(ROW_ID) {
            findings.push(format!(
                "tables.{name}.target.path is {:?}, but must start with / and hold {ROW_ID}, e.g. \"/customers/{ROW_ID}\"",
                self.target.path
            ));
        }
        if matches!(&self.on_delete, DeletePolicy::Deactivate(members) if members.is_empty()) {
            findings.push(format!(
                "tables.{name}.onDelete.deactivate is empty, but must hold what tells the target, e.g. {{\"state\": 1}}"
            ));
        }
        if self.fields.is_empty() {
            findings.push(format!(
                "tables.{name}.fields is empty: nothing would be sent"
            ));
        }
        for (member, field) in &self.fields {
            match field.reads() {
                // An acknowledgement column in the payload would make every acknowledgement a change.
                Some(Reads::Own(column)) if self.acknowledgement.all().contains(&column) => {
                    findings.push(format!(
                        "tables.{name}.fields.{member} uses {column}, which is one of the integration's own columns"
                    ));
                }
                Some(Reads::Own(column)) if !is_name(column) => findings.push(format!(
                    "tables.{name}.fields.{member} is {column:?}, which is no column, e.g. \"name\""
                )),
                Some(Reads::Related { navigation, column })
                    if !is_name(navigation) || !is_name(column) =>
                {
                    findings.push(format!(
                        "tables.{name}.fields.{member} is \"{navigation}/{column}\", but must be one lookup and one column, e.g. \"primarycontactid/emailaddress1\""
                    ));
                }
                Some(Reads::Related { navigation, .. })
                    if navigation.starts_with('_') && navigation.ends_with("_value") =>
                {
                    findings.push(format!(
                        "tables.{name}.fields.{member} follows {navigation}, but a lookup is followed by its navigation property, e.g. {:?}",
                        navigation.trim_start_matches('_').trim_end_matches("_value")
                    ));
                }
                _ => {}
            }
        }
    }

    fn into_config(self, name: String, policy: RetryPolicy) -> TableConfig {
        TableConfig {
            name,
            entity_set: self.entity_set,
            primary_key: self.primary_key,
            fields: self.fields,
            path: self.target.path,
            id_member: self.target.id_member,
            on_delete: self.on_delete,
            ack: self.acknowledgement,
            policy,
        }
    }
}
