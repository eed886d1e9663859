//! What operations cost in execution time.

use std::time::Duration;

use crate::dataverse::journal::RequestKind;

/// Execution time per operation. It counts towards the limit whether or not it really passes.
///
/// The defaults are guesses at a small environment without plug-ins of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// Reading one row.
    pub read: Duration,
    /// Reading a collection, besides its rows.
    pub list: Duration,
    /// Each row of a collection that is read.
    pub listed_row: Duration,
    /// Creating, changing or deleting one row, alone or as part of a batch.
    pub write: Duration,
    /// Each row of `CreateMultiple` and its kin.
    pub multiple_row: Duration,
    /// Metadata, functions and everything else.
    pub other: Duration,
    /// How much of its execution time a request really takes: 0 none, 1 all of it.
    pub slept: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            read: Duration::from_millis(10),
            list: Duration::from_millis(15),
            listed_row: Duration::from_micros(200),
            write: Duration::from_millis(30),
            multiple_row: Duration::from_millis(10),
            other: Duration::from_millis(5),
            slept: 0.0,
        }
    }
}

impl Costs {
    /// One operation, besides the rows it lists or takes.
    pub(in crate::dataverse) fn of(&self, kind: RequestKind) -> Duration {
        match kind {
            RequestKind::GetSingle => self.read,
            RequestKind::GetCollection => self.list,
            RequestKind::Create | RequestKind::Update | RequestKind::Delete => self.write,
            // A batch is the sum of its operations, an action that of its rows.
            RequestKind::Batch => Duration::ZERO,
            RequestKind::Action | RequestKind::Other => self.other,
        }
    }
}
