//! `sync.json`, checked: which tables travel, how their rows are mapped, and with how much patience.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use file::{AckColumns, DeletePolicy, Field, Reads};

use crate::breaker::BreakerSettings;
use crate::policy::RetryPolicy;

/// Everything `sync.json` says, checked.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// Name of the target system in acknowledgements, e.g. `customer-api`.
    pub target_system: String,
    /// How the target is called.
    pub target: TargetConfig,
    /// Whether a dead-lettered notification also sends a `rejected` acknowledgement.
    pub acknowledge_rejections: bool,
    /// Patience for messages whose table is not known (yet).
    pub default_policy: RetryPolicy,
    /// When a system counts as down, and how its backlog returns.
    pub breaker: BreakerSettings,
    /// By logical name.
    pub tables: BTreeMap<String, Arc<TableConfig>>,
}

/// How the target is called.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Header that carries the API key.
    pub api_key_header: http::HeaderName,
    /// One call may take this long.
    pub timeout: Duration,
}

impl TargetConfig {
    /// No call takes effect later than this after it was sent: the target is taken to be done with a
    /// call within one more timeout after its caller gave up. Nothing can be known beyond that; what a
    /// slower target does is found by reconciliation, or refused by a target that compares versions.
    #[must_use]
    pub fn longest_call(&self) -> Duration {
        self.timeout * 2
    }
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
    /// Path template below the target's URL; `{sourceRowId}` stands for the row id.
    pub path: String,
    /// Member of the target's answer that holds its id.
    pub id_member: String,
    /// What a deleted row means for the target.
    pub on_delete: DeletePolicy,
    /// The integration's own columns.
    pub ack: AckColumns,
    /// Patience.
    pub policy: RetryPolicy,
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

    /// The target path of a row.
    #[must_use]
    pub fn path_of(&self, row: uuid::Uuid) -> String {
        self.path.replace(ROW_ID, &row.to_string())
    }
}

const ROW_ID: &str = "{sourceRowId}";

/// Why `sync.json` cannot be used. All findings at once.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}. Every app package needs its sync.json beside host.json."
    )]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not usable:\n  - {}", findings.join("\n  - "))]
    Invalid {
        /// The file.
        path: String,
        /// One sentence each, starting with the key.
        findings: Vec<String>,
    },
}

impl SyncConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// See [`ConfigError`]; each finding names its key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Checks the text of a file called `path`.
    ///
    /// # Errors
    /// See [`ConfigError`]; each finding names its key.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        let fail = |findings| ConfigError::Invalid {
            path: path.to_owned(),
            findings,
        };
        let file: file::SyncFile =
            serde_json::from_str(text).map_err(|e| fail(vec![e.to_string()]))?;
        file.check().map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../sync.json");

    #[test]
    fn the_shipped_file_is_usable_and_selects_each_column_once() {
        let config = SyncConfig::parse(SHIPPED, "sync.json").unwrap();
        let select = config.tables["account"].select();
        let mut unique = select.clone();
        unique.dedup();
        assert_eq!(select, unique);
        assert!(select.contains(&"versionnumber") && select.contains(&"dvs_ackversion"));
    }

    #[test]
    fn fields_of_one_lookup_are_read_together_and_a_path_that_leads_nowhere_is_named() {
        let with = |fields: &str| {
            let text = SHIPPED.replacen("\"name\": \"name\"", fields, 1);
            SyncConfig::parse(&text, "sync.json")
        };
        let config = with(
            r#""name": "name", "a": "primarycontactid/fullname", "b": "parentaccountid/name""#,
        )
        .unwrap();
        let account = &config.tables["account"];
        let expand = account.expand();
        assert_eq!(
            expand["primarycontactid"],
            BTreeSet::from(["emailaddress1", "fullname"])
        );
        assert_eq!(expand["parentaccountid"], BTreeSet::from(["name"]));
        assert!(!account.select().iter().any(|column| column.contains('/')));
        for (path, expected) in [
            ("primarycontactid/", "must be one lookup and one column"),
            ("a/b/c", "must be one lookup and one column"),
            ("e mail", "is no column"),
            (
                "_primarycontactid_value/fullname",
                "e.g. \"primarycontactid\"",
            ),
        ] {
            let text = with(&format!("\"name\": \"{path}\""))
                .unwrap_err()
                .to_string();
            assert!(text.contains("tables.account.fields.name"), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn every_finding_is_reported_at_once_and_names_its_key() {
        let broken = SHIPPED
            .replace("/customers/{sourceRowId}", "customers")
            .replacen("\"name\": \"name\"", "\"name\": \"dvs_ackstate\"", 1)
            .replacen("\"baseSeconds\": ", "\"baseSeconds\": -", 1);
        let text = SyncConfig::parse(&broken, "sync.json")
            .unwrap_err()
            .to_string();
        for expected in [
            "tables.account.target.path is \"customers\"",
            "tables.account.fields.name uses dvs_ackstate",
            "retry.baseSeconds is -",
        ] {
            assert!(text.contains(expected), "{expected} not in: {text}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_place() {
        let broken = SHIPPED.replacen("\"entitySet\"", "\"entityset\"", 1);
        let text = SyncConfig::parse(&broken, "sync.json")
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("entityset") && text.contains("line"),
            "{text}"
        );
    }
}
