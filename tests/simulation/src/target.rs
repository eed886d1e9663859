//! The target system. A plain one takes whatever comes; one with a version guard refuses what is older
//! than what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sync_core::config::TableConfig;
use sync_core::failure::{Failure, Stage};
use sync_core::ports::{Change, Delivery, Receipt, Target};

use crate::dataverse::{REFUSED, value_of};
use crate::life::Life;
use crate::plan::{Fault, TargetKind};
use crate::wire::{Lost, Wire, exchange};
use crate::world::{Part, State};

/// The client gives up after this.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// The target, as one instance calls it.
pub(crate) struct SimTarget {
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl Target for SimTarget {
    async fn deliver(&self, _: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        let (wire, fault, number) = {
            let mut s = self.life.world.lock();
            let number = s.number(delivery.row.id);
            s.check_delivery(&self.life, number, delivery);
            let (wire, fault) = trouble(&mut s);
            (wire, fault, number)
        };
        let (life, change) = (Arc::clone(&self.life), delivery.clone());
        let late = wire.up > wire.patience;
        let answer = exchange(&self.life, wire, move |s| {
            s.serve(&life, number, &change, fault, late)
        });
        let Some(answer) = answer.await else {
            let text = format!(
                "The target did not answer for {} within {PATIENCE:?}.",
                delivery.row
            );
            return self.failed(
                number,
                Failure::transient(Stage::Deliver, "TargetUnreachable", text).lingering(PATIENCE),
            );
        };
        let code = match answer {
            Answer::Taken => {
                let target_row_id = number.map(|n| format!("T-{n}"));
                return Ok(Receipt { target_row_id });
            }
            Answer::Older => return Ok(Receipt::default()),
            Answer::Refused => {
                Failure::permanent(Stage::Deliver, "RejectedByTarget", "Refused.").with_status(422)
            }
            Answer::Throttled(after) => {
                let after = Duration::from_secs(after);
                Failure::throttled(Stage::Deliver, "TargetThrottled", after, "Slow down.")
                    .with_status(429)
            }
            Answer::Status(401) => {
                Failure::config(Stage::Deliver, "TargetUnauthorized", "Key refused.")
                    .with_status(401)
            }
            Answer::Status(409) => {
                Failure::transient(Stage::Deliver, "TargetBusy", "Busy.").with_status(409)
            }
            Answer::Status(status) => {
                Failure::transient(Stage::Deliver, "TargetFailed", "Failed.").with_status(status)
            }
        };
        self.failed(number, code)
    }
}

impl SimTarget {
    fn failed(&self, number: Option<usize>, failure: Failure) -> Result<Receipt, Failure> {
        let mut s = self.life.world.lock();
        s.figures.failed_deliveries += 1;
        s.saw_failure(&self.life, number, "deliver", &failure);
        Err(failure)
    }
}

/// Draws the fate of a call: its way, and the answer that replaces the ordinary one, with whether the
/// change is applied all the same.
fn trouble(s: &mut State) -> (Wire, Option<(Answer, bool)>) {
    let slow = if s.strikes(Fault::TargetSlow) {
        s.dice.millis(500, 3500)
    } else {
        Duration::ZERO
    };
    let (mut up, mut down) = (s.dice.millis(5, 120), s.hop());
    if s.dice.chance(0.5) {
        up += slow;
    } else {
        down += slow;
    }
    let mut wire = Wire {
        up,
        down,
        patience: PATIENCE,
        lost: Lost::Nothing,
    };
    let fault = if s.is_down(Part::Target) {
        if s.dice.chance(0.2) {
            wire.lost = Lost::Request;
        }
        Some((Answer::Status(503), false))
    } else if s.strikes(Fault::TargetThrottle) {
        Some((Answer::Throttled(s.dice.between(1, 60)), false))
    } else if s.strikes(Fault::TargetUnauthorized) {
        Some((Answer::Status(401), false))
    } else if s.strikes(Fault::TargetConflict) {
        Some((Answer::Status(409), false))
    } else if s.strikes(Fault::TargetError) {
        let applied = s.dice.chance(0.3);
        Some((Answer::Status(500), applied))
    } else {
        None
    };
    if fault.is_none() && s.strikes(Fault::TargetTimeout) {
        wire.lost = Lost::Answer;
    }
    if fault.is_none() && s.strikes(Fault::TargetLate) {
        let most = s.plan.lateness.as_millis() as u64;
        wire.up = PATIENCE + s.dice.millis(1, most);
    }
    (wire, fault)
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
            _ if refused => Answer::Refused,
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
