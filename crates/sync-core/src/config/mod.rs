//! `sync.json`, checked: which tables travel, how their rows are mapped, and with how much patience.

mod ack;
mod answers;
mod field;
mod file;
mod files;
mod finding;
mod operations;
mod read;
mod schema;
mod table;
mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use ack::AckColumns;
pub use answers::{AnswerClass, Answers};
pub use field::{
    ColumnPath, DateFormat, Field, Form, MoneyFormat, MoneyKind, Reads, Rounding, Translation,
};
pub use files::SyncFiles;
pub use finding::Finding;
use finding::Findings;
pub use operations::{Call, Find, Operations, PathTemplate, Pointer, Success};
pub use schema::schema;
pub use table::{DeletePolicy, NullPolicy, Requirement, TableConfig};
pub use target::{OAuth2, Rate, TargetAuth, TargetConfig, TargetHeaders, TargetLimits};

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

/// Why `sync.json` cannot be used. All findings at once.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}. Every app package needs sync.json beside host.json, or the files that setting SYNC_FILES names, e.g. SYNC_FILES=sync.json,sync.warehouse.json."
    )]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not usable:{}", list(findings))]
    Invalid {
        /// The file.
        path: String,
        /// Everything that is wrong.
        findings: Vec<Finding>,
    },
    /// Several files are usable, but not side by side.
    #[error("the files of setting SYNC_FILES do not go together:\n  - {}", findings.join("\n  - "))]
    Clash {
        /// One sentence each, naming the files.
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
        let mut all = Vec::new();
        let mut findings = Findings::new(&mut all);
        let file: Option<file::SyncFile> = read::text(text, &mut findings);
        let config = file.and_then(|file| file.check(&mut findings));
        match config {
            Some(config) if all.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid {
                path: path.to_owned(),
                findings: all,
            }),
        }
    }
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("\n  - {f}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            "tables.account.target.path is \"customers\", but must start with one /",
            "tables.account.fields.name uses dvs_ackstate",
            "retry.baseSeconds is -",
        ] {
            assert!(text.contains(expected), "{expected} not in: {text}");
        }
    }

    #[test]
    fn a_target_without_upsert_needs_find_and_create_and_knows_its_own_ids_only_then() {
        let with = |target: &str| {
            let text = SHIPPED.replacen(r#"{ "path": "/customers/{sourceRowId}" }"#, target, 1);
            SyncConfig::parse(&text, "sync.json").map(|c| c.tables["account"].target.clone())
        };
        let finds = r#"{"path": "/customers/{targetRowId}", "method": "PATCH", "success": [200],
            "find": {"path": "/customers?externalId={sourceRowId}", "id": "/items/0/id"},
            "create": {"path": "/customers"}, "id": "/data/id", "answers": {"422:duplicate": "accepted"}}"#;
        let operations = with(finds).unwrap();
        let create = &operations.find.unwrap().create;
        assert_eq!(
            (create.method.as_str(), &create.success),
            ("POST", &Success::Any)
        );
        assert_eq!(operations.write.method, "PATCH");
        let path = operations
            .delete
            .path
            .fill(uuid::Uuid::nil(), Some("A/1 é"));
        assert_eq!(path, "/customers/A%2F1%20%C3%A9");
        assert_eq!(
            operations.answers.of(422, Some("duplicate")),
            Some(AnswerClass::Accepted)
        );
        for (target, expected) in [
            (
                r#"{"path": "/c/{targetRowId}"}"#,
                "path is \"/c/{targetRowId}\", but {targetRowId} is only known where find",
            ),
            (
                r#"{"path": "/c"}"#,
                "path is \"/c\", but must say which row",
            ),
            (
                r#"{"path": "/c/{sourceRowId}", "method": "GET"}"#,
                "method is \"GET\", but must be \"PUT\"",
            ),
            (
                r#"{"path": "/c/{sourceRowId}", "success": [404]}"#,
                "success is [404], but must hold",
            ),
            (
                r#"{"path": "/c/{sourceRowId}", "id": "id"}"#,
                "id is \"id\", but must be a JSON pointer",
            ),
            (
                r#"{"path": "/c/{sourceRowId}", "answers": {"5xx": "transient"}}"#,
                "answers.5xx is no answer",
            ),
            (
                r#"{"path": "/c/{sourceRowId}", "find": {"path": "/f/{sourceRowId}", "id": "/id"}}"#,
                "create is missing",
            ),
            (
                r#"{"path": "/c/{sourceRowId}", "delete": {"path": "/gone"}}"#,
                "delete.path is \"/gone\"",
            ),
        ] {
            let text = with(target).unwrap_err().to_string();
            assert!(
                text.contains(&format!("tables.account.target.{expected}")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_found_together_and_named_by_its_place() {
        let broken = SHIPPED
            .replacen("\"accountid\"", "7", 1)
            .replacen(
                "\"onDelete\": \"delete\"",
                "\"onDelete\": \"erase\", \"requires\": [{\"lookup\": 1}]",
                2,
            )
            .replacen("\"timeoutSeconds\": 20", "\"timeoutSeconds\": \"20\"", 1);
        let text = SyncConfig::parse(&broken, "sync.json")
            .unwrap_err()
            .to_string();
        for expected in [
            "target.timeoutSeconds is not usable: invalid type: string",
            "tables.account.primaryKey is not usable: invalid type: integer",
            "tables.contact.onDelete is not usable: unknown variant `erase`",
            "tables.account.requires.0.lookup is not usable",
        ] {
            assert!(text.contains(expected), "{expected} not in: {text}");
        }
        assert!(!text.contains("lacks \"primaryKey\""), "{text}");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_place() {
        let broken = SHIPPED.replacen("\"entitySet\"", "\"entityset\"", 1);
        let text = SyncConfig::parse(&broken, "sync.json")
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("tables.account.entityset is no setting here; it would be"),
            "{text}"
        );
        // What it leaves out is named as well.
        assert!(
            text.contains("tables.account lacks \"entitySet\""),
            "{text}"
        );
    }
}
