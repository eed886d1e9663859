//! The comparison at the end, when everything is quiet.

use service_bus::Value;
use sync_core::acknowledgement::Outcome;

use super::rows::Difference;
use crate::broker::WORN_OUT;
use crate::dataverse::{MARKER, REJECTED};
use crate::ledger::watch::AckSent;
use crate::truth::Kind;
use crate::world::{State, Which};

impl State {
    /// Whether nothing is on its way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.outbound.is_empty()
            && self.inbound.is_empty()
            && !self.dataverse.outbox.values().any(|e| !e.failed)
    }

    /// Every check of the end.
    pub(crate) fn check_end(&mut self) {
        if !self.is_quiet() {
            let (out, back) = (self.outbound.backlog(), self.inbound.backlog());
            let left = self.dataverse.outbox.len();
            let text = format!(
                "not drained: outbound (active, scheduled, locked) {out:?}, inbound {back:?}, outbox {left}"
            );
            self.violation("I10", None, text);
        }
        for about in 0..self.truth.changes.len() {
            self.check_change(about);
        }
        for row in 0..self.plan.rows {
            self.check_row(row);
            self.check_acknowledged(row);
            self.check_rejected(row);
        }
        self.check_dead(Which::Outbound);
        self.check_dead(Which::Inbound);
        self.figures.coalesced = self.watch.coalesced();
    }

    /// I1: none vanishes.
    fn check_change(&mut self, about: usize) {
        let change = &self.truth.changes[about];
        let (row, kind) = (change.row, change.kind);
        let kept = self.dataverse.outbox.values().any(|e| {
            e.change == about && (!e.failed || e.reason.as_ref().is_some_and(|r| !r.is_empty()))
        });
        if !kept && !self.is_accounted_for(about) {
            let text = format!("{} vanished", self.describe(Which::Outbound, Some(about)));
            self.violation("I1", Some(row), text);
        }
        if let Kind::Poison(expected) = kind {
            let dead = self
                .outbound
                .dead
                .iter()
                .filter(|d| d.stored.about == Some(about));
            let wrong = dead
                .map(|d| d.reason.clone())
                .find(|r| r != expected && r != WORN_OUT);
            if let Some(reason) = wrong {
                self.violation(
                    "I5",
                    Some(row),
                    format!("dead-lettered for {reason} instead of {expected}"),
                );
            }
        }
    }

    /// I2: the target holds what Dataverse holds.
    fn check_row(&mut self, number: usize) {
        match self.difference(number) {
            None => {}
            Some(Difference::Unfenced) => self.figures.unfenced += 1,
            Some(Difference::DeadLetter) => self.figures.explained += 1,
            Some(Difference::Unexplained(text)) => self.violation("I2", Some(number), text),
        }
    }

    /// I4: the row carries the newest acknowledged version, exactly.
    fn check_acknowledged(&mut self, number: usize) {
        let Some(created) = self.dataverse.rows.get(&number).map(|r| r.created) else {
            return;
        };
        let recreated = self
            .truth
            .changes
            .iter()
            .any(|c| c.row == number && c.kind == Kind::Deleted);
        let acks = self.watch.acks.iter().enumerate();
        let newest = acks
            .filter(|(about, ack)| {
                ack.row == number
                    && ack.at >= created
                    && ack.outcome != Outcome::Rejected
                    && !self.inbound.has_dead(*about)
            })
            .filter_map(|(_, ack)| ack.version)
            .max();
        let carried = self.acknowledged_version(number);
        // An acknowledgement sent for a row's earlier life may reach its later one.
        let right = if recreated {
            carried >= newest
        } else {
            carried == newest
        };
        if !right
            && !self
                .inbound
                .dead
                .iter()
                .any(|d| self.row_of(Which::Inbound, d.stored.about) == Some(number))
        {
            let text = format!("the row says v{carried:?}, the newest acknowledged is v{newest:?}");
            self.violation("I4", Some(number), text);
        }
    }

    /// I1: a row that was rejected last says so, whatever arrives later.
    fn check_rejected(&mut self, number: usize) {
        let Some(row) = self.dataverse.rows.get(&number) else {
            return;
        };
        let second = |ack: &AckSent| ack.processed_at.unix_timestamp();
        let acks = || self.watch.acks.iter().filter(|ack| ack.row == number);
        let last = acks().map(second).max();
        let mut newest = acks().filter(|ack| Some(second(ack)) == last);
        let rejected = newest.all(|ack| {
            ack.outcome == Outcome::Rejected
                && ack.at >= row.created
                && ack.version >= Some(row.changed)
        });
        let state = row
            .ack
            .get(&self.own_columns.state)
            .and_then(|v| v.as_i64());
        if last.is_some() && rejected && state != Some(REJECTED) {
            let text = format!("the row was rejected last, and says {state:?}");
            self.violation("I1", Some(number), text);
        }
    }

    /// I1, I9: every dead letter has its reason, and no row value in it.
    fn check_dead(&mut self, which: Which) {
        let dead = &self.queue(which).dead;
        let mut found = Vec::new();
        for letter in dead {
            let texts = letter.properties.values().filter_map(Value::as_str);
            let mut texts = texts.chain([letter.reason.as_str(), letter.description.as_str()]);
            if letter.reason.is_empty() || letter.description.is_empty() {
                found.push(("I1", letter.stored.about, "a dead letter has no reason"));
            }
            if texts.any(|text| text.contains(MARKER)) {
                found.push((
                    "I9",
                    letter.stored.about,
                    "a dead letter's reason holds a row value",
                ));
            }
        }
        for (invariant, about, text) in found {
            let row = self.row_of(which, about);
            self.violation(invariant, row, text.into());
        }
    }
}
