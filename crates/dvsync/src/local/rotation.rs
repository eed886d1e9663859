//! `--rotate-secret`: the target's key is changed while work is under way, as a careful operator does it.
//!
//! The vault gets a new version, and the target takes both keys. Once every instance has read the new one,
//! and its last calls with the old one must have ended, the old one is refused. Part of the changes is made
//! in each phase.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use local_stack::stack::{Stack, TARGET_SECRET, instance_name};
use time::OffsetDateTime;
use uuid::Uuid;

use super::instances::readers;

/// How often the apps read secrets again when one is to be rotated: a run of under three minutes sees three reads.
pub(super) const REFRESH: Duration = Duration::from_secs(60);
/// Longer than a call of the target may take here.
const SETTLED: Duration = Duration::from_secs(3);
/// The old key ends after this at the latest.
const OVERLAP: Duration = Duration::from_secs(300);

/// A rotation of the first target's key.
pub(super) struct Rotation {
    /// Begins after so many changes; `None`: never.
    after: Option<u64>,
    phase: Phase,
}

enum Phase {
    Before,
    Overlap {
        began: Instant,
        at: OffsetDateTime,
        /// Changes made when it began.
        made: u64,
        key: String,
        /// Since when every instance has the new key.
        known: Option<Instant>,
    },
    Over {
        key: String,
    },
}

impl Rotation {
    pub(super) fn new(after: Option<u64>) -> Self {
        Self {
            after,
            phase: Phase::Before,
        }
    }

    /// Goes on to the next phase if it is time.
    pub(super) fn act(&mut self, stack: &Stack, made: u64) {
        match &mut self.phase {
            Phase::Before if self.after.is_some_and(|after| made >= after) => {
                let key = Uuid::new_v4().simple().to_string();
                let target = &stack.target;
                target.accept_secrets(&[target.api_key(), &key]);
                let at = OffsetDateTime::now_utc();
                stack.vault.set_secret(TARGET_SECRET, &key);
                self.phase = Phase::Overlap {
                    began: Instant::now(),
                    at,
                    made,
                    key,
                    known: None,
                };
            }
            Phase::Overlap {
                began,
                at,
                key,
                known,
                ..
            } => {
                if known.is_none() && all_read(stack, *at) {
                    *known = Some(Instant::now());
                }
                if known.is_some_and(|known| known.elapsed() > SETTLED) || began.elapsed() > OVERLAP
                {
                    stack.target.accept_secrets(&[key]);
                    let key = std::mem::take(key);
                    self.phase = Phase::Over { key };
                }
            }
            _ => {}
        }
    }

    /// The newest key of the target.
    pub(super) fn key<'a>(&'a self, stack: &'a Stack) -> &'a str {
        match &self.phase {
            Phase::Before => stack.target.api_key(),
            Phase::Overlap { key, .. } | Phase::Over { key } => key,
        }
    }

    /// How many of `planned` changes may have been made by now. While both keys are good only half of those
    /// that are left, slowly: an instance reads a secret again when it has something to deliver.
    pub(super) fn allowed(&self, planned: u64) -> u64 {
        match (&self.phase, self.after) {
            (Phase::Before, Some(after)) => planned.min(after),
            (Phase::Overlap { began, made, .. }, _) => {
                let share = planned.saturating_sub(*made) / 2;
                let part = (began.elapsed().as_secs_f64() / (2.0 * REFRESH.as_secs_f64())).min(1.0);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                #[allow(clippy::cast_precision_loss)] // counts far below 2^52
                let allowed = made + (share as f64 * part) as u64;
                allowed
            }
            _ => planned,
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_done(&self) -> bool {
        self.after.is_none() || matches!(self.phase, Phase::Over { .. })
    }
}

/// Whether every instance has read the first target's key since `at`.
fn all_read(stack: &Stack, at: OffsetDateTime) -> bool {
    let numbers = 1..=stack.outbound.hosts().len();
    let instances: BTreeSet<_> = numbers.map(|n| instance_name("outbound-fn", n)).collect();
    instances.is_subset(&readers(stack, TARGET_SECRET, at))
}
