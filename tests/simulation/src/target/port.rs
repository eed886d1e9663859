//! The target as sync-core's port, over a network that may fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sync_core::config::TableConfig;
use sync_core::failure::{Failure, Stage};
use sync_core::ports::{Delivery, Receipt, Target};

use super::Answer;
use crate::life::Life;
use crate::plan::Fault;
use crate::wire::{Lost, Wire, exchange};
use crate::world::{Part, State};

/// The client gives up after this.
const PATIENCE: Duration = Duration::from_secs(5);

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
    } else if refuses_key(s) {
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

/// Somebody changes the key in the target, and only later in the vault: nothing works meanwhile.
fn refuses_key(s: &mut State) -> bool {
    let now = s.now();
    // Rare: each strike lasts.
    if s.dice.chance(0.02) && s.strikes(Fault::TargetUnauthorized) {
        let until = now + s.dice.millis(1000, 180_000);
        s.target.key_wrong_until = Some(until);
    }
    !s.calm && s.target.key_wrong_until.is_some_and(|until| now < until)
}
