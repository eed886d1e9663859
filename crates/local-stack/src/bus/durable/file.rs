//! The data file: one redb database in the data directory.
//!
//! redb because a commit is atomic over all tables and durable with one call, a directory holds one
//! file that stays about as large as the most the broker ever held (a log would grow with every
//! message that passes through), it is locked against a second broker, its format is stable, it is
//! plain Rust without dependencies, and it can check every page when it is opened.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableHandle,
};

use super::journal::{Disk, Item};
use super::{DataError, Past, record};
use crate::bus::queue::SubQueue;
use crate::bus::queue::changes::{Change, SessionState};
use crate::bus::queue::entry::Entry;

const FILE: &str = "service-bus.redb";
/// Changes with what the tables hold.
const VERSION: u64 = 1;

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("local-service-bus");
const KINDS: TableDefinition<'_, &str, &str> = TableDefinition::new("kinds");
const NUMBERS: TableDefinition<'_, &str, i64> = TableDefinition::new("last-sequence-numbers");
const MESSAGES: TableDefinition<'_, (&str, u8, i64), &[u8]> = TableDefinition::new("messages");
/// The moment it was set, in milliseconds since 1970, and the state.
const SESSIONS: TableDefinition<'_, (&str, &str), (i64, &[u8])> =
    TableDefinition::new("session-states");
const DUPLICATES: TableDefinition<'_, (&str, &str), i64> = TableDefinition::new("message-ids");
const RULES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rules");

/// The open data file. No other broker can open it meanwhile.
pub(super) struct DataFile {
    database: Database,
    path: PathBuf,
}

/// A fault of the library, whichever of its types it came in.
struct Fault(redb::Error);

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Fault(error.into())
    }
}

impl DataFile {
    /// Opens the data of a directory, or begins it in a new or empty one. Takes a while: every page is read and checked.
    pub(super) fn open(dir: &Path) -> Result<Self, DataError> {
        let directory = |source| DataError::Directory {
            dir: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(directory)?;
        let path = dir.join(FILE);
        let is_new = !path.try_exists().map_err(directory)?;
        if is_new && std::fs::read_dir(dir).map_err(directory)?.next().is_some() {
            return Err(DataError::Foreign {
                dir: dir.to_owned(),
                problem: format!("it holds other files, and no {FILE}"),
            });
        }
        let database = Database::builder()
            .set_check_integrity_on_open(true)
            .create(&path)
            .map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => DataError::InUse {
                    dir: dir.to_owned(),
                },
                DatabaseError::Storage(StorageError::Io(source))
                    if source.kind() != std::io::ErrorKind::InvalidData
                        && source.kind() != std::io::ErrorKind::UnexpectedEof =>
                {
                    directory(source)
                }
                other => damaged(&path, &other),
            })?;
        let file = DataFile { database, path };
        file.check_version(dir)?;
        Ok(file)
    }

    fn check_version(&self, dir: &Path) -> Result<(), DataError> {
        let foreign = |problem: String| DataError::Foreign {
            dir: dir.to_owned(),
            problem,
        };
        let version = self
            .begin()
            .map_err(|Fault(error)| damaged(&self.path, &error))?;
        match version {
            Some(VERSION) => Ok(()),
            Some(other) => Err(foreign(format!(
                "it was written by another version of this program (its format is {other}, this \
                 one's is {VERSION})"
            ))),
            None => Err(foreign(format!("its {FILE} belongs to another program"))),
        }
    }

    /// The version of the file, which is set in one without tables.
    fn begin(&self) -> Result<Option<u64>, Fault> {
        let read = self.database.begin_read()?;
        let tables: Vec<_> = read.list_tables()?.collect();
        if tables.iter().any(|table| table.name() == ABOUT.name()) {
            let version = read.open_table(ABOUT)?.get("version")?;
            return Ok(version.map(|version| version.value()));
        }
        if !tables.is_empty() {
            return Ok(None);
        }
        let write = self.database.begin_write()?;
        write.open_table(ABOUT)?.insert("version", VERSION)?;
        write.open_table(KINDS)?;
        write.open_table(NUMBERS)?;
        write.open_table(MESSAGES)?;
        write.open_table(SESSIONS)?;
        write.open_table(DUPLICATES)?;
        write.open_table(RULES)?;
        write.commit()?;
        Ok(Some(VERSION))
    }

    /// Everything it holds.
    pub(super) fn load(&self) -> Result<Past, DataError> {
        let mut past = Past::default();
        self.read_into(&mut past)
            .map_err(|error| damaged(&self.path, &error))?;
        Ok(past)
    }

    fn read_into(&self, past: &mut Past) -> Result<(), String> {
        let text = |Fault(error): Fault| error.to_string();
        let in_row = |error: record::Unreadable| error.to_string();
        let read = self.database.begin_read().map_err(|e| text(e.into()))?;
        macro_rules! each {
            ($table:expr, |$key:ident, $value:ident| $body:expr) => {
                let table = read.open_table($table).map_err(|e| text(e.into()))?;
                for row in table.iter().map_err(|e| text(e.into()))? {
                    let (key, value) = row.map_err(|e| text(e.into()))?;
                    let ($key, $value) = (key.value(), value.value());
                    $body
                }
            };
        }
        each!(KINDS, |entity, kind| {
            past.kinds.insert(entity.to_owned(), kind.to_owned());
        });
        each!(NUMBERS, |entity, number| {
            past.contents(entity).last_sequence = number;
        });
        each!(MESSAGES, |key, bytes| {
            let (entity, sub, sequence) = key;
            let entry = record::decode(sequence, bytes).map_err(in_row)?;
            let sub = match sub {
                0 => SubQueue::Main,
                _ => SubQueue::DeadLetter,
            };
            past.contents(entity).messages.push((sub, entry));
        });
        each!(SESSIONS, |key, value| {
            let ((entity, id), (set_at, state)) = (key, value);
            let state = SessionState {
                state: state.to_vec().into(),
                set_at: record::moment(set_at).map_err(in_row)?,
            };
            past.contents(entity).sessions.push((id.into(), state));
        });
        each!(DUPLICATES, |key, until| {
            let (entity, id) = key;
            let until = record::moment(until).map_err(in_row)?;
            past.contents(entity).duplicates.push((id.into(), until));
        });
        each!(RULES, |entity, bytes| {
            past.rules.insert(entity.to_owned(), bytes.to_vec());
        });
        Ok(())
    }

    fn write(&self, batch: Batch) -> Result<(), Fault> {
        let write = self.database.begin_write()?;
        {
            let mut messages = write.open_table(MESSAGES)?;
            for ((entity, sub, sequence), bytes) in &batch.messages {
                let key = (entity.as_ref(), *sub, *sequence);
                match bytes {
                    Some(bytes) => messages.insert(key, bytes.as_slice())?,
                    None => messages.remove(key)?,
                };
            }
            let mut numbers = write.open_table(NUMBERS)?;
            for (entity, number) in &batch.numbers {
                numbers.insert(entity.as_ref(), number)?;
            }
            let mut duplicates = write.open_table(DUPLICATES)?;
            for ((entity, id), until) in &batch.duplicates {
                let key = (entity.as_ref(), id.as_ref());
                match until {
                    Some(until) => duplicates.insert(key, until)?,
                    None => duplicates.remove(key)?,
                };
            }
            let mut sessions = write.open_table(SESSIONS)?;
            for ((entity, id), state) in &batch.sessions {
                let key = (entity.as_ref(), id.as_ref());
                match state {
                    Some(SessionState { state, set_at }) => {
                        sessions.insert(key, (record::millis(*set_at), state.as_ref()))?
                    }
                    None => sessions.remove(key)?,
                };
            }
            let mut rules = write.open_table(RULES)?;
            for (entity, bytes) in &batch.rules {
                rules.insert(entity.as_ref(), bytes.as_slice())?;
            }
            let mut kinds = write.open_table(KINDS)?;
            for (entity, kind) in &batch.kinds {
                kinds.insert(entity.as_ref(), kind)?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl Disk for DataFile {
    fn commit(&mut self, items: Vec<(Arc<str>, Item)>) -> Result<(), DataError> {
        let failed = |problem: String| DataError::Write {
            file: self.path.clone(),
            problem,
        };
        let batch = Batch::of(items).map_err(|error| failed(error.to_string()))?;
        self.write(batch)
            .map_err(|Fault(error)| failed(error.to_string()))
    }
}

/// What one commit writes: of each thing its last state only, in the order of the tables.
#[derive(Default)]
struct Batch {
    messages: BTreeMap<(Arc<str>, u8, i64), Option<Vec<u8>>>,
    sessions: BTreeMap<(Arc<str>, Arc<str>), Option<SessionState>>,
    duplicates: BTreeMap<(Arc<str>, Arc<str>), Option<i64>>,
    numbers: HashMap<Arc<str>, i64>,
    rules: HashMap<Arc<str>, Vec<u8>>,
    kinds: HashMap<Arc<str>, &'static str>,
}

impl Batch {
    fn of(items: Vec<(Arc<str>, Item)>) -> Result<Self, record::Unreadable> {
        let mut batch = Batch::default();
        let mut entries: BTreeMap<_, Option<Box<Entry>>> = BTreeMap::new();
        for (entity, item) in items {
            match item {
                Item::Change(Change::Message {
                    sub,
                    sequence,
                    entry,
                }) => {
                    let sub = match sub {
                        SubQueue::Main => 0,
                        SubQueue::DeadLetter => 1,
                    };
                    entries.insert((entity, sub, sequence), entry);
                }
                Item::Change(Change::Session { id, state }) => {
                    batch.sessions.insert((entity, id), state);
                }
                Item::Change(Change::Duplicate { id, until }) => {
                    let until = until.map(record::millis);
                    batch.duplicates.insert((entity, id), until);
                }
                Item::Change(Change::LastSequence(number)) => {
                    batch.numbers.insert(entity, number);
                }
                Item::Rules(bytes) => {
                    batch.rules.insert(entity, bytes);
                }
                Item::Kind(kind) => {
                    batch.kinds.insert(entity, kind);
                }
            }
        }
        for (key, entry) in entries {
            let bytes = entry.as_deref().map(record::encode).transpose()?;
            batch.messages.insert(key, bytes);
        }
        Ok(batch)
    }
}

fn damaged(file: &Path, problem: &dyn std::fmt::Display) -> DataError {
    DataError::Damaged {
        file: file.to_owned(),
        problem: problem.to_string(),
    }
}
