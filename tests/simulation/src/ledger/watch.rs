//! Checks at each step: deliveries, completions, crashes.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::acknowledgement::Outcome;
use sync_core::decide::Disposition;
use sync_core::failure::{Class, Failure};
use sync_core::message::{FIRST_ENQUEUED_AT, ORIGINAL_MESSAGE_ID, RETRY_COUNT};
use sync_core::ports::{self, Delivery};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Violation;
use crate::broker::Stored;
use crate::dataverse::MARKER;
use crate::life::Life;
use crate::plan::TargetKind;
use crate::world::{State, Which};

/// An acknowledgement that the inbound queue took.
#[derive(Debug, Clone)]
pub(crate) struct AckSent {
    pub(crate) at: OffsetDateTime,
    pub(crate) row: usize,
    pub(crate) outcome: Outcome,
    pub(crate) version: Option<i64>,
    pub(crate) processed_at: OffsetDateTime,
    pub(crate) notification: String,
}

/// A message an instance is working on.
#[derive(Debug)]
pub(super) struct InHand {
    pub(super) life: usize,
    pub(super) which: Which,
    pub(super) original: String,
    pub(super) retry_count: i64,
    /// When its chain began.
    pub(super) first: OffsetDateTime,
    row: Option<usize>,
}

/// Failures with the time they were seen at.
pub(super) type Seen = Vec<(OffsetDateTime, Failure)>;

/// What the ledger remembers while the run goes on.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) violations: Vec<Violation>,
    pub(crate) acks: Vec<AckSent>,
    ack_ids: BTreeMap<String, usize>,
    pub(super) in_hand: BTreeMap<Uuid, InHand>,
    /// Failures that reached a life about a row: when, what.
    pub(super) failures: BTreeMap<(usize, Option<usize>), Seen>,
    /// The newest version a life delivered of a row.
    issued: BTreeMap<(usize, usize), i64>,
    /// A life was refused a row for good, and has not read it again since.
    refused: BTreeSet<(usize, usize)>,
    /// Rows overwritten by somebody who lost the lock and then could not repair it.
    pub(crate) unfenced: BTreeSet<usize>,
    completed: u64,
    acknowledgements: u64,
}

impl Watch {
    pub(super) fn find_ack(&self, id: &str) -> Option<usize> {
        self.ack_ids.get(id).copied()
    }

    pub(super) fn enter(&mut self, id: &str, ack: AckSent) -> usize {
        self.acknowledgements += u64::from(ack.outcome != Outcome::Rejected);
        self.ack_ids.insert(id.to_owned(), self.acks.len());
        self.acks.push(ack);
        self.acks.len() - 1
    }

    /// The messages of one chain that a life works on.
    pub(super) fn hands<'a>(
        &'a self,
        life: &'a Life,
        which: Which,
        original: &'a str,
    ) -> impl Iterator<Item = &'a InHand> {
        let hands = self.in_hand.values();
        hands.filter(move |h| h.life == life.number && h.which == which && h.original == original)
    }

    /// Whether any life works on a notification of a row.
    pub(super) fn works_on(&self, row: usize) -> bool {
        let mut hands = self.in_hand.values();
        hands.any(|h| h.which == Which::Outbound && h.row == Some(row))
    }

    /// A life has read a row anew.
    pub(crate) fn fetched(&mut self, life: &Life, row: usize) {
        self.refused.remove(&(life.number, row));
    }

    /// Notifications completed beyond the acknowledgements that were sent.
    pub(crate) fn coalesced(&self) -> u64 {
        self.completed.saturating_sub(self.acknowledgements)
    }
}

impl State {
    /// A failure reached an instance.
    pub(crate) fn saw_failure(
        &mut self,
        life: &Life,
        row: Option<usize>,
        asked: &str,
        failure: &Failure,
    ) {
        let now = self.now();
        self.note(
            row,
            format!(
                "{} fails to {asked}: {} {:?}",
                life.name, failure.code, failure.class
            ),
        );
        let seen = self.watch.failures.entry((life.number, row)).or_default();
        seen.retain(|(at, _)| *at == now);
        seen.push((now, failure.clone()));
        if let (Class::Permanent, Some(row)) = (failure.class, row) {
            self.watch.refused.insert((life.number, row));
        }
    }

    /// A call to the target leaves.
    pub(crate) fn check_delivery(&mut self, life: &Life, row: Option<usize>, delivery: &Delivery) {
        let Some(row) = row else {
            return self.violation("I1", None, format!("{} delivers an unknown row", life.name));
        };
        let key = (life.number, row);
        if self.watch.refused.contains(&key) {
            let text = format!("{} delivers again what was refused for good", life.name);
            self.violation("I5", Some(row), text);
        }
        let (ports::Change::Upsert(_), Some(version)) = (&delivery.change, delivery.version) else {
            return;
        };
        let newest = self.watch.issued.entry(key).or_insert(version.0);
        let before = *newest;
        *newest = before.max(version.0);
        if version.0 < before {
            let text = format!("{} delivers v{version} after v{before}", life.name);
            self.violation("I3", Some(row), text);
        }
    }

    pub(crate) fn handling(&mut self, life: &Life, which: Which, token: Uuid, stored: &Stored) {
        let text = |name| {
            stored
                .properties
                .get(name)
                .and_then(service_bus::Value::as_str)
        };
        let count = stored
            .properties
            .get(RETRY_COUNT)
            .and_then(service_bus::Value::as_i64);
        let row = self.row_of(which, stored.about);
        // What was resent from the dead-letter queue starts anew.
        let resent = text("DeadLetterReason").is_some();
        let first = text(FIRST_ENQUEUED_AT).filter(|_| !resent);
        let in_hand = InHand {
            life: life.number,
            which,
            original: text(ORIGINAL_MESSAGE_ID)
                .unwrap_or(&stored.message_id)
                .to_owned(),
            retry_count: count.filter(|_| !resent).unwrap_or(0),
            first: first
                .and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok())
                .unwrap_or(stored.enqueued),
            row,
        };
        let (what, delivery) = (self.describe(which, stored.about), stored.failed + 1);
        let count = in_hand.retry_count;
        self.watch.in_hand.insert(token, in_hand);
        self.note(
            row,
            format!(
                "{} takes {what}, delivery {delivery}, retry {count}",
                life.name
            ),
        );
    }

    /// The host got its answer, or the lack of one.
    pub(crate) fn handled(&mut self, token: Uuid, failed: bool) {
        let Some(in_hand) = self.watch.in_hand.remove(&token) else {
            return;
        };
        if failed && in_hand.which == Which::Outbound {
            self.maybe_unfenced(token, in_hand.row);
        }
    }

    /// An instance is gone with everything it worked on.
    pub(crate) fn crashed(&mut self, life: &Life) {
        let hands = &self.watch.in_hand;
        let mine = hands.iter().filter(|(_, h)| h.life == life.number);
        let mine: Vec<_> = mine.map(|(token, h)| (*token, h.which, h.row)).collect();
        for (token, which, row) in mine {
            self.watch.in_hand.remove(&token);
            if which == Which::Outbound {
                self.maybe_unfenced(token, row);
            }
        }
    }

    /// Whoever works on without a lock repairs what it overwrites, as long as it lives and succeeds. If
    /// it does not, its message may be settled by another already, and nobody owes the repair.
    fn maybe_unfenced(&mut self, token: Uuid, row: Option<usize>) {
        let fenced = self.plan.target == TargetKind::Comparing || self.outbound.holds(token);
        if let (false, Some(row)) = (fenced, row) {
            self.note(
                Some(row),
                "whoever worked on it without a lock is gone".into(),
            );
            self.watch.unfenced.insert(row);
        }
    }

    /// The host completes what was answered well.
    pub(crate) fn answered(&mut self, which: Which, disposition: &Disposition) {
        if which == Which::Outbound && *disposition == Disposition::Complete {
            self.watch.completed += 1;
        }
    }

    /// No value of a row travels in an acknowledgement.
    pub(crate) fn check_written(&mut self, row: usize) {
        let columns = self.dataverse.rows[&row].ack.values();
        if columns
            .filter_map(|v| v.as_str())
            .any(|text| text.contains(MARKER))
        {
            self.violation(
                "I9",
                Some(row),
                "an acknowledgement column holds a row value".into(),
            );
        }
    }
}
