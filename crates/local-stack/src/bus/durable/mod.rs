//! A broker's data directory: what a broker holds, so that a restart loses nothing of it.
//!
//! The queues say what has changed (`queue::changes`); [`journal`] collects that and has it written,
//! [`file`] writes and reads it. Bytes for a client leave only when everything that happened before
//! them is on disk (`server::gate`), so nobody ever knows of something that a crash takes back. A
//! broker without a data directory has none of this.

mod file;
mod journal;
mod record;
pub(crate) mod rules;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::file::DataFile;
pub(crate) use self::journal::{Item, Journal, Progress};
use super::filter::Rule;
use super::queue::changes::Contents;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// It is not a directory, or cannot be written to.
    #[error(
        "the data directory {} cannot be used: {source}; name a directory that may be written to",
        dir.display()
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It belongs to somebody else.
    #[error(
        "{} is not a data directory of this broker: {problem}; name a new or an empty directory",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// How this is known.
        problem: String,
    },
    /// Another broker runs on it.
    #[error(
        "the data directory {} is in use by another broker; stop that one, or name another directory",
        dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// What it holds has been altered by somebody else than a broker.
    #[error(
        "{} is damaged: {problem}; put a copy of the file in its place, or delete it to start \
         without its messages",
        file.display()
    )]
    Damaged {
        /// The data file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An entity is another kind of entity now.
    #[error(
        "{entity:?} is a {configured} in the configuration and a {kept} in the data directory; change \
         the configuration back, give the entity another name, or use another directory"
    )]
    Kind {
        /// The entity's path.
        entity: String,
        /// What the configuration says.
        configured: &'static str,
        /// What it was before.
        kept: String,
    },
    /// What has changed cannot be written.
    #[error("{} cannot be written: {problem}", file.display())]
    Write {
        /// The data file.
        file: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The system has no thread left.
    #[error("the thread that writes the data cannot be started: {0}")]
    Thread(std::io::Error),
}

/// An open data directory, and what was in it.
pub(crate) struct Data {
    pub(crate) journal: Arc<Journal>,
    pub(crate) past: Past,
}

/// What the entities held when they were last heard of, by their lower-case paths.
#[derive(Debug, Default)]
pub(crate) struct Past {
    kinds: HashMap<String, String>,
    contents: HashMap<String, Contents>,
    rules: HashMap<String, Vec<u8>>,
}

/// Opens a directory, which is made if there is none. Blocks.
///
/// # Errors
/// [`DataError`], naming the directory and the way out.
pub(crate) fn open(dir: &Path) -> Result<Data, DataError> {
    let file = DataFile::open(dir)?;
    let past = file.load()?;
    let journal = Journal::start(file).map_err(DataError::Thread)?;
    Ok(Data {
        journal: Arc::new(journal),
        past,
    })
}

impl Past {
    /// What an entity held. It is no longer among the past then.
    ///
    /// # Errors
    /// When it was another kind of entity.
    pub(crate) fn take(&mut self, entity: &str, kind: &'static str) -> Result<Contents, DataError> {
        if let Some(kept) = self.kinds.remove(entity).filter(|kept| kept != kind) {
            return Err(DataError::Kind {
                entity: entity.to_owned(),
                configured: kind,
                kept,
            });
        }
        Ok(self.contents.remove(entity).unwrap_or_default())
    }

    /// The rules of a subscription, if clients have changed them and the configuration has not been
    /// edited since.
    pub(crate) fn take_rules(&mut self, entity: &str, configured: &[Rule]) -> Option<Vec<Rule>> {
        let bytes = self.rules.remove(entity)?;
        match rules::decode(configured, &bytes) {
            Ok(Some(rules)) => Some(rules),
            Ok(None) => {
                tracing::warn!(
                    entity,
                    "The subscription has the rules of its configuration, which has been edited, and \
                     not those that clients had set before"
                );
                None
            }
            Err(error) => {
                tracing::warn!(entity, error = %error,
                    "The subscription has the rules of its configuration: the data directory's \
                     cannot be read");
                None
            }
        }
    }

    /// Tells of the messages whose entities the configuration does not have (any more). They stay in
    /// the directory.
    pub(crate) fn report_rest(&self) {
        for (entity, contents) in &self.contents {
            let messages = contents.messages.len();
            if messages > 0 {
                tracing::warn!(
                    entity,
                    messages,
                    "The data directory keeps messages of an entity that the configuration does not \
                     have; they are there again when it has"
                );
            }
        }
    }

    fn contents(&mut self, entity: &str) -> &mut Contents {
        self.contents.entry(entity.to_owned()).or_default()
    }
}
