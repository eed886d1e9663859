//! What really happened in Dataverse, for the ledger: every announced change.

use std::collections::BTreeMap;

use time::OffsetDateTime;

/// What kind of change was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A row was created or updated.
    Saved,
    /// A row was deleted.
    Deleted,
    /// Somebody asked for the row to be sent again.
    Resync,
    /// The notification itself cannot be used; the dead-letter reason it must get.
    Poison(&'static str),
}

/// One announced change.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) notification: String,
    pub(crate) row: usize,
    pub(crate) version: i64,
    pub(crate) kind: Kind,
    pub(crate) at: OffsetDateTime,
    pub(crate) body: String,
}

/// Every announced change, in order of commit.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) changes: Vec<Change>,
    by_notification: BTreeMap<String, usize>,
}

impl Truth {
    pub(crate) fn announce(&mut self, change: Change) {
        self.by_notification
            .insert(change.notification.clone(), self.changes.len());
        self.changes.push(change);
    }

    /// The change behind a notification id.
    pub(crate) fn find(&self, notification: &str) -> Option<usize> {
        self.by_notification.get(notification).copied()
    }
}
