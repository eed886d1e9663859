//! Checks at each settlement: nothing is settled before its effects are durable.

use serde_json::Value;
use sync_core::acknowledgement::Outcome;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::watch::AckSent;
use crate::broker::Stored;
use crate::dataverse::Row;
use crate::truth::{Change, Kind};
use crate::world::{State, Which};

impl State {
    /// Nothing is completed before its effects are durable.
    pub(crate) fn check_completed(&mut self, which: Which, stored: &Stored) {
        let Some(about) = stored.about else {
            return self.violation("I1", None, format!("{} is unknown", stored.message_id));
        };
        let durable = match which {
            Which::Outbound => self.is_accounted_for(about),
            Which::Inbound => {
                self.is_written(about) || self.inbound.has(about) || self.inbound.has_dead(about)
            }
        };
        if !durable {
            let text = format!(
                "{} was completed, but nothing came of it",
                self.describe(which, Some(about))
            );
            self.violation("I7", self.row_of(which, Some(about)), text);
        }
        if let (Which::Outbound, Some(row)) = (which, self.row_of(which, Some(about))) {
            self.check_last_settled(row);
        }
    }

    /// A notification is given up only after its row was told, as far as the row is known.
    pub(crate) fn check_given_up(&mut self, which: Which, about: Option<usize>, reason: &str) {
        let unknown_row = ["InvalidNotification", "UnknownTable"].contains(&reason);
        let (Which::Outbound, Some(about), false) = (which, about, unknown_row) else {
            return;
        };
        let change = &self.truth.changes[about];
        let told = |ack: &AckSent| {
            ack.outcome == Outcome::Rejected && ack.notification == change.notification
        };
        let what = || self.describe(which, Some(about));
        let known = ["RejectedByTarget", "RetriesExhausted", "MaxAgeExceeded"];
        let refused = self.target.refused.get(&change.row);
        let found = if !self.watch.acks.iter().any(told) {
            Some((
                "I7",
                format!("{} was dead-lettered before its row was told", what()),
            ))
        } else if reason == "RejectedByTarget"
            && change.kind == Kind::Saved
            && refused.is_none_or(|version| *version < change.version)
        {
            // The notification may announce the very correction of what was refused.
            Some((
                "I5",
                format!("{} shares the refusal of v{refused:?}", what()),
            ))
        } else if !known.contains(&reason) {
            // Nothing in this world fails for good in any other way.
            Some(("I5", format!("{} was given up for {reason}", what())))
        } else {
            None
        };
        if let Some((invariant, text)) = found {
            self.violation(invariant, self.row_of(which, Some(about)), text);
        }
    }

    /// Whether a notification is acknowledged at its version or a newer one, dead-lettered, or still
    /// on its way.
    pub(crate) fn is_accounted_for(&self, about: usize) -> bool {
        let change = &self.truth.changes[about];
        // A row that was deleted and came back has another notification for that.
        let came_back = |deleted: &Change| {
            let later = self.truth.changes.iter().skip(about + 1);
            later
                .clone()
                .any(|c| c.row == deleted.row && c.kind == Kind::Saved)
        };
        let acknowledged = self.watch.acks.iter().any(|ack| {
            let fresh = ack.at >= change.at;
            let reached = ack.version >= Some(change.version);
            ack.row == change.row
                && match (ack.outcome, change.kind) {
                    (Outcome::Delivered, Kind::Saved) => reached,
                    (Outcome::Delivered, Kind::Deleted) => reached && came_back(change),
                    (Outcome::Delivered, _) => reached && fresh,
                    (Outcome::Deleted, _) => fresh,
                    (Outcome::Rejected, _) => false,
                }
        });
        let usable = !matches!(change.kind, Kind::Poison(_));
        (usable && acknowledged) || self.outbound.has(about) || self.outbound.has_dead(about)
    }

    /// Whether a row carries an acknowledgement, or something newer, or is gone.
    fn is_written(&self, about: usize) -> bool {
        let ack = &self.watch.acks[about];
        let Some(row) = self
            .dataverse
            .rows
            .get(&ack.row)
            .filter(|r| r.created <= ack.at)
        else {
            return true;
        };
        if ack.outcome == Outcome::Rejected {
            return self.is_later(row, ack);
        }
        ack.version.is_none() || self.acknowledged_version(ack.row) >= ack.version
    }

    /// Whether a row carries an answer that is newer than this one, by version or by time.
    fn is_later(&self, row: &Row, ack: &AckSent) -> bool {
        let on = row.ack.get(&self.own_columns.acknowledged_on);
        let on = on.and_then(Value::as_str);
        let on = on.and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok());
        let second = ack.processed_at.unix_timestamp();
        on.is_some_and(|on| on.unix_timestamp() >= second)
            || self.acknowledged_version(ack.row) > ack.version
    }

    /// The version a row carries as acknowledged.
    pub(crate) fn acknowledged_version(&self, row: usize) -> Option<i64> {
        let row = self.dataverse.rows.get(&row)?;
        row.ack
            .get(&self.own_columns.version)?
            .as_str()?
            .parse()
            .ok()
    }
}
