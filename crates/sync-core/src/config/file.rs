//! The shape of `sync.json` on disk, and its check into [`SyncConfig`].

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SyncConfig;
use super::ack::AckColumns;
use super::finding::Findings;
use super::table::TableFile;
use super::target::TargetFile;
use crate::breaker::BreakerSettings;
use crate::policy::{RetryPolicy, RetrySettings};

/// What travels from Dataverse to one target system, how it is mapped, and with how much patience.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "sync.json of dataverse-sync")]
pub(super) struct SyncFile {
    /// Where an editor finds this file's schema.
    #[serde(default, rename = "$schema")]
    #[schemars(example = &"./sync.schema.json")]
    _schema: Option<String>,
    /// Name of the target system in acknowledgements.
    #[schemars(example = &"customer-api")]
    target_system: String,
    /// How the target system is called.
    #[serde(default)]
    target: TargetFile,
    /// Whether a notification that is given up also tells its row why.
    #[serde(default = "yes")]
    acknowledge_rejections: bool,
    /// How patient the sync is with a message.
    #[serde(default)]
    retry: RetrySettings,
    /// When a system counts as down, and how its backlog returns.
    #[serde(default)]
    breaker: BreakerSettings,
    /// The tables that travel, by logical name, e.g. `account`.
    tables: BTreeMap<String, TableFile>,
}

fn yes() -> bool {
    true
}

impl SyncFile {
    /// The checked configuration; `None` after findings.
    pub(super) fn check(self, findings: &mut Findings<'_>) -> Option<SyncConfig> {
        let default_policy = findings.keep(RetryPolicy::try_from(&self.retry));
        let breaker = findings.keep(self.breaker.check());
        let target = self.target.check(&mut findings.below("target"));
        if self.target_system.is_empty() {
            findings.add("targetSystem", "is empty, e.g. \"customer-api\"");
        }
        if self.tables.is_empty() {
            findings.add("tables", "is empty: nothing would travel");
        }
        let acks: BTreeMap<String, AckColumns> = self
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.acknowledgement.clone()))
            .collect();
        let mut below = findings.below("tables");
        let mut tables = BTreeMap::new();
        for (name, table) in self.tables {
            let mut findings = below.below(&name);
            let checked = table.check(name.clone(), default_policy.as_ref(), &acks, &mut findings);
            if let Some(table) = checked {
                tables.insert(name, Arc::new(table));
            }
        }
        breaker?;
        Some(SyncConfig {
            target_system: self.target_system,
            target: target?,
            acknowledge_rejections: self.acknowledge_rejections,
            default_policy: default_policy?,
            breaker: self.breaker,
            tables,
        })
    }
}
