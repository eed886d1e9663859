//! What the environment remembers of itself, for the ledger: changes, acknowledgement writes,
//! requests. Kept apart from the tables, so that it is evidence and not part of the game.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::protection::{Limit, ProtectionCounts, ServerCounts};
use super::transaction::Effects;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It was created.
    Create,
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
}

impl Operation {
    /// As a notification names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One committed change of an account or a contact that was not an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The notification it caused, or the `OperationId` of the native event; `None` when no step was
    /// registered for what changed.
    pub notification_id: Option<Uuid>,
    /// One per save, over all the rows it touched.
    pub correlation_id: Uuid,
    /// Logical name of the table.
    pub table: &'static str,
    /// Id of the row.
    pub row_id: Uuid,
    /// Its version after the change; for a delete its last version.
    pub version: i64,
    /// What happened.
    pub operation: Operation,
    /// When.
    pub at: OffsetDateTime,
}

/// One committed write to the integration's own columns, or carrying the integration's tag.
#[derive(Debug, Clone, PartialEq)]
pub struct AckWrite {
    /// When.
    pub at: OffsetDateTime,
    /// Logical name of the table.
    pub table: &'static str,
    /// Id of the row.
    pub row_id: Uuid,
    /// The row's version after the write.
    pub version: i64,
    /// The request's `tag`.
    pub tag: Option<String>,
    /// What was written, by column.
    pub columns: Map<String, Value>,
}

/// What kind of request came in. A `$batch` is one request, whatever it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// GET of one row.
    GetSingle,
    /// GET of a collection.
    GetCollection,
    /// POST that creates a row.
    Create,
    /// PATCH or PUT.
    Update,
    /// DELETE.
    Delete,
    /// `$batch`.
    Batch,
    /// An action such as `UpdateMultiple`.
    Action,
    /// Metadata, `WhoAmI` and everything else.
    Other,
}

/// Requests of one side, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests by kind, refused ones included.
    pub by_kind: BTreeMap<RequestKind, u64>,
    /// Operations inside batches.
    pub batch_operations: u64,
    /// Requests a scripted fault hit.
    pub faulted: u64,
}

impl DataverseCounters {
    /// 429s answered for a limit, over all users and servers; scripted ones are not among them.
    pub fn refused(&self, limit: Limit) -> u64 {
        let of = |counts: &ServerCounts| counts.refused.get(&limit).copied().unwrap_or_default();
        self.servers.values().map(of).sum()
    }

    /// 429s answered for any limit.
    pub fn refused_in_all(&self) -> u64 {
        Limit::ALL
            .into_iter()
            .map(|limit| self.refused(limit))
            .sum()
    }
}

impl RequestCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// Requests of one kind.
    pub fn of(&self, kind: RequestKind) -> u64 {
        self.by_kind.get(&kind).copied().unwrap_or_default()
    }
}

/// Totals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataverseCounters {
    /// Requests of the integration.
    pub integration: RequestCounts,
    /// Requests of users over HTTP.
    pub users: RequestCounts,
    /// Events triggered: notifications written to the outbox, and native events.
    pub events: u64,
    /// Distinct rows among the changes.
    pub rows_changed: usize,
    /// Notifications the asynchronous step handed to Service Bus.
    pub posted: u64,
    /// Posts that failed and were left to the sweep, or for native events to the platform.
    pub post_failures: u64,
    /// Per user and web server: what was let through, and 429s answered by limit.
    pub servers: ProtectionCounts,
}

/// The memory itself.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) changes: Vec<Change>,
    pub(super) ack_writes: Vec<AckWrite>,
    pub(super) counters: DataverseCounters,
    rows_changed: HashSet<(&'static str, Uuid)>,
}

impl Journal {
    /// Takes in what a committed transaction did.
    pub(super) fn record(&mut self, effects: &mut Effects) {
        for change in effects.changes.drain(..) {
            self.counters.events += u64::from(change.notification_id.is_some());
            self.rows_changed.insert((change.table, change.row_id));
            self.changes.push(change);
        }
        self.counters.rows_changed = self.rows_changed.len();
        self.counters.post_failures += effects.too_large;
        self.ack_writes.append(&mut effects.ack_writes);
    }
}
