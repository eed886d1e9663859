//! What is wrong: in which file, under which key, why, and what would be right.

use std::path::Path;

use serde::Serialize;
use sync_core::config::ConfigError;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    /// The file, below the folder that is checked.
    pub(crate) file: String,
    /// The key, e.g. `bindings.0.dataType`; empty when the file as a whole is meant.
    pub(crate) path: String,
    /// What is wrong with it: a sentence that starts with the key.
    pub(crate) problem: String,
    /// What to do, where the sentence does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

/// All that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Finding>);

impl Report {
    /// Notes what is wrong with a key, and what to do about it.
    pub(crate) fn add(
        &mut self,
        file: &str,
        path: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(file, path, problem, Some(fix.into()));
    }

    /// Notes a problem that says itself what would be right.
    pub(crate) fn note(&mut self, file: &str, path: impl Into<String>, problem: impl Into<String>) {
        self.push(file, path, problem, None);
    }

    fn push(
        &mut self,
        file: &str,
        path: impl Into<String>,
        problem: impl Into<String>,
        fix: Option<String>,
    ) {
        self.0.push(Finding {
            file: file.to_owned(),
            path: path.into(),
            problem: problem.into(),
            fix,
        });
    }

    /// Notes why a sync file cannot be used.
    pub(crate) fn config(&mut self, file: &str, error: ConfigError) {
        match error {
            ConfigError::Invalid { findings, .. } => {
                for finding in findings {
                    self.note(file, finding.path, finding.problem);
                }
            }
            ConfigError::Clash { findings } => {
                for finding in findings {
                    self.note(file, "", finding);
                }
            }
            ConfigError::Unreadable { source, .. } => self.add(
                file,
                "",
                format!("cannot be read: {source}"),
                "put it beside host.json, or name the package's sync files in the setting SYNC_FILES",
            ),
        }
    }

    /// Whether something is known to be wrong with this key already.
    pub(crate) fn knows(&self, file: &str, path: &str) -> bool {
        self.0
            .iter()
            .any(|known| known.file == file && known.path == path)
    }

    /// In the order of files and keys, each once.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// How a file is called in findings.
pub(crate) fn name_of(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    below.display().to_string().replace('\\', "/")
}
