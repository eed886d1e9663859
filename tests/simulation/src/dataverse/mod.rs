//! Dataverse: rows with an organisation-wide version, an outbox in the save's transaction, and the
//! plug-in step that posts afterwards.

mod acks;
mod answer;
mod outbox;
mod people;
mod plugin;
mod source;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use acks::SimAcknowledgements;
pub(crate) use outbox::SimOutbox;
pub(crate) use people::people;
pub(crate) use source::SimSource;

/// Every value of a row starts with this, so that the ledger recognises one that leaked.
pub(crate) const MARKER: &str = "SECRET-";
/// The value the target refuses.
pub(crate) const REFUSED: char = 'X';

/// What the acknowledgement state says of a row whose change was rejected.
pub(crate) const REJECTED: i64 = 3;

/// A row of an account or contact.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What people see; a few values, so that a row often goes from A to B and back to A.
    pub(crate) letter: char,
    /// `versionnumber`.
    pub(crate) version: i64,
    /// The version of the last change that was not an acknowledgement.
    pub(crate) changed: i64,
    pub(crate) created: OffsetDateTime,
    /// The integration's own columns.
    pub(crate) ack: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub(crate) struct OutboxEntry {
    pub(crate) change: usize,
    /// No sweep can send it.
    pub(crate) failed: bool,
    version: i64,
    created: OffsetDateTime,
    /// When whoever works on it now has had enough time.
    next: Option<OffsetDateTime>,
    attempts: u32,
    pub(crate) reason: Option<String>,
}

/// The environment.
#[derive(Debug, Default)]
pub(crate) struct Dataverse {
    version: i64,
    pub(crate) rows: BTreeMap<usize, Row>,
    pub(crate) outbox: BTreeMap<Uuid, OutboxEntry>,
}

impl Dataverse {
    fn next_version(&mut self) -> i64 {
        self.version += 1;
        self.version
    }

    /// A row's columns as the Web API returns them.
    fn columns(&self, number: usize, row: &Row) -> Map<String, Value> {
        let value = value_of(number, row.letter);
        let mut columns = row.ack.clone();
        for (name, value) in [
            ("@odata.etag", json!(etag(row.version))),
            ("versionnumber", json!(row.version)),
            ("name", json!(value)),
            ("description", json!(format!("{MARKER}note"))),
        ] {
            columns.insert(name.into(), value);
        }
        columns
    }
}

/// The business value of a row.
pub(crate) fn value_of(number: usize, letter: char) -> String {
    format!("{MARKER}{number}-{letter}")
}

fn etag(version: i64) -> String {
    format!("W/\"{version}\"")
}
