//! The target system. A plain one takes whatever comes; one with a version guard refuses what is older
//! than what it holds.

mod port;

use std::collections::{BTreeMap, BTreeSet};

use sync_core::ports::{Change, Delivery};
use time::OffsetDateTime;

use crate::dataverse::{REFUSED, value_of};
use crate::life::Life;
use crate::plan::TargetKind;
use crate::world::{Part, State};

pub(crate) use port::SimTarget;

/// What the target holds of a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// The row's name; `None` when it was deleted.
    pub(crate) name: Option<String>,
    pub(crate) version: Option<i64>,
}

/// The target's rows, deleted ones too.
#[derive(Debug, Default)]
pub(crate) struct TargetSystem {
    pub(crate) rows: BTreeMap<usize, Held>,
    /// The newest version of a row that it refused for good.
    pub(crate) refused: BTreeMap<usize, i64>,
    /// It refuses the API key until then.
    key_wrong_until: Option<OffsetDateTime>,
    /// Idempotency keys carried out, where they are remembered.
    keys: BTreeSet<String>,
}

/// How the target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Taken,
    Older,
    Refused,
    Status(u16),
    Throttled(u64),
}

impl State {
    fn serve(
        &mut self,
        life: &Life,
        number: Option<usize>,
        delivery: &Delivery,
        fault: Option<(Answer, bool)>,
        late: bool,
    ) -> Answer {
        let Some(number) = number else {
            return Answer::Status(404);
        };
        if self.is_down(Part::Target) {
            return Answer::Status(503);
        }
        let version = delivery.version.map(|v| v.0);
        let (name, refused) = match &delivery.change {
            Change::Upsert(payload) => {
                let name = payload
                    .body
                    .get("name")
                    .and_then(|n| n.as_str())
                    .unwrap_or_default();
                (Some(name.to_owned()), name == value_of(number, REFUSED))
            }
            Change::Delete(_) => (None, false),
        };
        let answer = match fault {
            Some((answer, false)) => answer,
            _ if refused => {
                let newest = self.target.refused.entry(number).or_default();
                *newest = version.unwrap_or_default().max(*newest);
                Answer::Refused
            }
            _ if self.plan.target == TargetKind::Comparing
                && self.holds_newer(number, name.is_some(), version) =>
            {
                Answer::Older
            }
            _ if self.knows(&delivery.idempotency_key()) => Answer::Taken,
            _ => {
                let what = name.as_deref().map_or("a delete".to_owned(), |n| {
                    n.chars().last().unwrap_or(' ').to_string()
                });
                let at = version.map_or_else(|| "no version".to_owned(), |v| format!("v{v}"));
                let lately = if late { ", late" } else { "" };
                self.note(
                    Some(number),
                    format!(
                        "the target applies {what} at {at} from {}{lately}",
                        life.name
                    ),
                );
                self.figures.deliveries += 1;
                self.figures.late += u64::from(late);
                // A delete without a version leaves the version it met, against what is still on its way.
                let before = self.target.rows.get(&number).and_then(|h| h.version);
                let version = version.or(before);
                self.target.rows.insert(number, Held { name, version });
                fault.map_or(Answer::Taken, |(answer, _)| answer)
            }
        };
        if answer != Answer::Taken {
            self.note(
                Some(number),
                format!("the target answers {answer:?} to {}", life.name),
            );
        }
        answer
    }

    /// The rule of a target that remembers keys.
    fn knows(&mut self, key: &str) -> bool {
        let remembers = self.plan.target == TargetKind::RememberingKeys;
        remembers && !self.target.keys.insert(key.to_owned())
    }

    /// The rule of a target that compares: nothing older than what it holds, and nothing that was
    /// deleted comes back at the version it was deleted at.
    fn holds_newer(&self, number: usize, upsert: bool, version: Option<i64>) -> bool {
        let held = self.target.rows.get(&number);
        match (held.and_then(|h| h.version), version) {
            (Some(held_at), Some(version)) => {
                let deleted = held.is_some_and(|h| h.name.is_none());
                version < held_at || (version == held_at && deleted && upsert)
            }
            _ => false,
        }
    }
}
