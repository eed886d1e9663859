//! The shape of `sync.json` on disk, and its check into [`SyncConfig`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::SyncConfig;
use super::finding::Findings;
use super::table::TableFile;
use super::target::TargetFile;
use crate::breaker::BreakerSettings;
use crate::policy::{RetryPolicy, RetrySettings};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SyncFile {
    /// Where an editor finds this file's schema.
    #[serde(default, rename = "$schema")]
    _schema: Option<String>,
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
        let names: BTreeSet<String> = self.tables.keys().cloned().collect();
        let mut below = findings.below("tables");
        let mut tables = BTreeMap::new();
        for (name, table) in self.tables {
            let mut findings = below.below(&name);
            let checked = table.check(name.clone(), default_policy.as_ref(), &names, &mut findings);
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
