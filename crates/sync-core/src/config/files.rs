//! The sync files of one package: with several targets each has its own, and `inbound-fn` knows them all.
//!
//! They must not get in each other's way on a row. Each target acknowledges in columns of its own, and
//! none of these may be read by another target's mapping.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{ConfigError, SyncConfig, TableConfig};

/// One package's sync files, at least one, checked against each other.
#[derive(Debug, Clone)]
pub struct SyncFiles {
    /// By name, in the order of the setting.
    files: Vec<(String, Arc<SyncConfig>)>,
}

impl SyncFiles {
    /// Reads and checks files of the folder `root`.
    ///
    /// # Errors
    /// The first file that cannot be used, or all that is wrong between them.
    pub fn load<'a>(
        root: &Path,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let load = |name: &str| Ok((name.to_owned(), SyncConfig::load(&root.join(name))?));
        let files: Result<_, ConfigError> = names.into_iter().map(load).collect();
        Self::new(files?)
    }

    /// Checks files against each other, each with its name.
    ///
    /// # Errors
    /// [`ConfigError::Clash`] with all findings; each names both files.
    pub fn new(files: Vec<(String, SyncConfig)>) -> Result<Self, ConfigError> {
        let mut findings = Vec::new();
        for (i, later) in files.iter().enumerate() {
            for earlier in &files[..i] {
                compare(earlier, later, &mut findings);
            }
        }
        if files.is_empty() {
            findings.push("there is none".into());
        }
        if !findings.is_empty() {
            return Err(ConfigError::Clash { findings });
        }
        let shared = |(name, config)| (name, Arc::new(config));
        let files = files.into_iter().map(shared).collect();
        Ok(Self { files })
    }

    /// The only one; `None` when there are several.
    #[must_use]
    pub fn only(&self) -> Option<&Arc<SyncConfig>> {
        match self.files.as_slice() {
            [(_, config)] => Some(config),
            _ => None,
        }
    }

    /// The one for a target system.
    #[must_use]
    pub fn of(&self, target_system: &str) -> Option<&Arc<SyncConfig>> {
        let mut configs = self.files.iter().map(|(_, config)| config);
        configs.find(|config| config.target_system == target_system)
    }

    /// The first one. Its `retry` and `breaker` count where a message or a system is nobody's own: for
    /// messages that cannot be read, and for Dataverse.
    #[must_use]
    pub fn first(&self) -> &SyncConfig {
        &self.files[0].1
    }

    /// Each file's target system and name.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(name, config)| (config.target_system.as_str(), name.as_str()))
    }
}

impl From<Arc<SyncConfig>> for SyncFiles {
    fn from(config: Arc<SyncConfig>) -> Self {
        Self {
            files: vec![("sync.json".into(), config)],
        }
    }
}

type Named = (String, SyncConfig);

fn compare(earlier: &Named, later: &Named, findings: &mut Vec<String>) {
    let ((one, a), (other, b)) = (earlier, later);
    // Without regard to case, though acknowledgements heed it: two names that differ in nothing else are
    // the same to people, and to a subscription's correlation filter perhaps.
    if a.target_system.eq_ignore_ascii_case(&b.target_system) {
        findings.push(format!(
            "targetSystem of {one} and of {other} is {:?}: each file is for a target of its own, e.g. \"customer-api\" and \"warehouse\"",
            b.target_system
        ));
    }
    for (name, table) in &a.tables {
        let Some(same) = b.tables.get(name) else {
            continue;
        };
        share(name, (one, table), (other, same), findings);
        reads(name, (one, table), (other, same), findings);
        reads(name, (other, same), (one, table), findings);
    }
}

type Held<'a> = (&'a String, &'a TableConfig);

fn share(name: &str, (one, a): Held<'_>, (other, b): Held<'_>, findings: &mut Vec<String>) {
    let theirs: BTreeMap<&str, &str> = b.ack.named().map(|(key, column)| (column, key)).into();
    for (key, column) in a.ack.named() {
        if let Some(their_key) = theirs.get(column) {
            findings.push(format!(
                "tables.{name}.acknowledgement.{key} of {one} and .{their_key} of {other} are both {column}: give each target columns of its own on the table, and name them in its file"
            ));
        }
    }
}

/// A target that reads what another one's acknowledgement writes would take every acknowledgement for a
/// change.
fn reads(name: &str, (one, a): Held<'_>, (other, b): Held<'_>, findings: &mut Vec<String>) {
    let own = a.ack.all();
    for column in a.select() {
        if b.ack.all().contains(&column) && !own.contains(&column) {
            findings.push(format!(
                "tables.{name}.fields of {one} use {column}, in which {other} has acknowledgements written: every acknowledgement would be a change. Take the column out of the fields"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shipped() -> Value {
        serde_json::from_str(include_str!("../../../../sync.json")).unwrap()
    }

    fn warehouse() -> Value {
        serde_json::from_str(include_str!("../../../../sync.warehouse.json")).unwrap()
    }

    fn files(one: &Value, other: &Value) -> Result<SyncFiles, ConfigError> {
        let parse = |name: &str, file: &Value| {
            let config = SyncConfig::parse(&file.to_string(), name).unwrap();
            (name.to_owned(), config)
        };
        let other = parse("sync.warehouse.json", other);
        SyncFiles::new(vec![parse("sync.json", one), other])
    }

    #[test]
    fn the_shipped_files_go_together_and_are_found_by_their_target() {
        let files = files(&shipped(), &warehouse()).unwrap();
        assert!(files.only().is_none());
        assert_eq!(files.first().target_system, "customer-api");
        let found = files.of("warehouse").unwrap();
        assert_eq!(found.tables["account"].ack.state, "dvs_warehousestate");
        assert!(files.of("Warehouse").is_none());
        let targets: Vec<_> = files.targets().collect();
        assert_eq!(targets[1], ("warehouse", "sync.warehouse.json"));
    }

    #[test]
    fn two_files_for_one_target_are_refused_and_both_are_named() {
        let mut other = warehouse();
        other["targetSystem"] = json!("Customer-API");
        let text = files(&shipped(), &other).unwrap_err().to_string();
        for part in [
            "targetSystem of sync.json and of sync.warehouse.json",
            "SYNC_FILES",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn acknowledgement_columns_that_two_files_share_are_all_told_with_both_files() {
        let mut other = warehouse();
        other["tables"]["contact"]["acknowledgement"]["version"] = json!("dvs_ackversion");
        // Not the same kind of column, but the same column.
        other["tables"]["contact"]["acknowledgement"]["error"] = json!("dvs_ackstate");
        let text = files(&shipped(), &other).unwrap_err().to_string();
        for part in [
            "tables.contact.acknowledgement.version of sync.json and .version of sync.warehouse.json are both dvs_ackversion",
            "tables.contact.acknowledgement.state of sync.json and .error of sync.warehouse.json are both dvs_ackstate",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(!text.contains("tables.account"), "{text}");
    }

    #[test]
    fn a_column_that_one_target_reads_may_not_be_what_another_acknowledges_in() {
        let mut one = shipped();
        one["tables"]["account"]["fields"]["warehouse"] = json!("dvs_warehouseid");
        let text = files(&one, &warehouse()).unwrap_err().to_string();
        let expected =
            "tables.account.fields of sync.json use dvs_warehouseid, in which sync.warehouse.json";
        assert!(text.contains(expected), "{text}");
        // In the other order of the files, and on a table of its own, too.
        let text = files(&warehouse(), &one).unwrap_err().to_string();
        assert!(text.contains("dvs_warehouseid"), "{text}");
    }

    #[test]
    fn a_table_that_only_one_file_has_gets_in_nobodys_way() {
        let (mut one, mut other) = (shipped(), warehouse());
        one["tables"].as_object_mut().unwrap().remove("contact");
        let contact = other["tables"]["contact"].as_object_mut().unwrap();
        contact.remove("acknowledgement");
        files(&one, &other).unwrap();
    }
}
