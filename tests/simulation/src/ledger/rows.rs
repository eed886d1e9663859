//! How the target compares with Dataverse, row by row.

use sync_core::acknowledgement::Outcome;

use crate::dataverse::value_of;
use crate::truth::Kind;
use crate::world::{State, table_of};

/// Why the target does not hold what Dataverse holds.
pub(super) enum Difference {
    /// Its last overwriter lost its lock and then died or failed.
    Unfenced,
    /// A dead letter says why.
    DeadLetter,
    /// Nothing explains it.
    Unexplained(String),
}

impl State {
    /// Compares a row.
    pub(super) fn difference(&self, number: usize) -> Option<Difference> {
        let row = self.dataverse.rows.get(&number);
        let held = self.target.rows.get(&number).and_then(|h| h.name.clone());
        let expected = row.map(|r| value_of(number, r.letter));
        // Where deletes are ignored, anything may be left of a deleted row.
        let ignored = row.is_none() && table_of(number) == "contact";
        if held == expected || ignored {
            return None;
        }
        if self.watch.unfenced.contains(&number) {
            return Some(Difference::Unfenced);
        }
        let owed = row.map(|r| r.changed);
        let dead = self.outbound.dead.iter();
        let given_up = dead
            .filter(|d| self.is_about(d.stored.about, number))
            .map(|d| d.at)
            .max();
        // A dead letter explains a difference, unless the row was delivered well after it.
        let explained = given_up.is_some_and(|at| {
            !self.watch.acks.iter().any(|ack| {
                let at_last = match ack.outcome {
                    Outcome::Delivered => owed.is_some() && ack.version >= owed,
                    Outcome::Deleted => owed.is_none(),
                    Outcome::Rejected => false,
                };
                ack.row == number && at_last && ack.at > at + self.plan.lateness
            })
        });
        Some(if explained {
            Difference::DeadLetter
        } else {
            Difference::Unexplained(format!("Dataverse holds {expected:?}, the target {held:?}"))
        })
    }

    /// I3: whoever settles the last message of a row has repaired what was overwritten on the way.
    pub(super) fn check_last_settled(&mut self, number: usize) {
        if self.is_under_way(number) {
            return;
        }
        if let Some(Difference::Unexplained(text)) = self.difference(number) {
            let text = format!("its last message was settled, and {text}");
            self.violation("I3", Some(number), text);
        }
    }

    /// Whether anything about a row is still on its way to the target.
    fn is_under_way(&self, number: usize) -> bool {
        let mut outbox = self.dataverse.outbox.values();
        self.outbound
            .stored()
            .any(|s| self.is_about(s.about, number))
            || outbox.any(|e| !e.failed && self.is_about(Some(e.change), number))
            || self.watch.works_on(number)
    }

    /// Whether a message is a usable notification of a row.
    fn is_about(&self, about: Option<usize>, number: usize) -> bool {
        let change = about.map(|about| &self.truth.changes[about]);
        change.is_some_and(|c| c.row == number && !matches!(c.kind, Kind::Poison(_)))
    }
}
