//! What goes wrong in Dataverse, on purpose. Only the integration is hit, never a user's save.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::script::KnownAnswer;
use crate::dice::Dice;

/// Scripted faults. Rates are probabilities, 0 to 1; at most one fault hits a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataverseFaults {
    /// Seed of the chance; setting faults starts the sequence anew.
    pub seed: u64,
    /// Answers 429 with one of the three service protection codes.
    pub rate_429: f64,
    /// `Retry-After` of a 429, seconds.
    pub retry_after_s: u64,
    /// Answers 503 with an HTML body, as the gateway does.
    pub rate_503: f64,
    /// Resets the connection before the request did anything.
    pub rate_reset_before: f64,
    /// Does the work, then resets the connection.
    pub rate_reset_after: f64,
    /// Answers 429 to a single operation of a `$batch`, per operation.
    pub rate_batch_part_429: f64,
    /// Answers with one of [`KNOWN_ANSWERS`](super::KNOWN_ANSWERS), by its name.
    pub rate_known: BTreeMap<String, f64>,
    /// Time every request takes, milliseconds.
    pub latency_ms: u64,
    /// The asynchronous step cannot reach Service Bus: the outbox row is left to the sweep.
    pub rate_post_failure: f64,
    /// The asynchronous step posts and then dies: the outbox row stays, the sweep posts again.
    pub rate_post_crash: f64,
}

impl Default for DataverseFaults {
    fn default() -> Self {
        Self {
            seed: 0,
            rate_429: 0.0,
            retry_after_s: 1,
            rate_503: 0.0,
            rate_reset_before: 0.0,
            rate_reset_after: 0.0,
            rate_batch_part_429: 0.0,
            rate_known: BTreeMap::new(),
            latency_ms: 0,
            rate_post_failure: 0.0,
            rate_post_crash: 0.0,
        }
    }
}

/// The fault that hits one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Throttled(Throttle),
    Unavailable,
    ResetBefore,
    ResetAfter,
    Known(&'static KnownAnswer),
}

/// The fault that hits one post of the asynchronous step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostFault {
    None,
    Fails,
    CrashesAfterwards,
}

/// A service protection limit ("Service protection API limits", Power Apps docs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttle {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

const THROTTLES: [Throttle; 3] = [
    Throttle {
        code: "0x80072322",
        message: "Number of requests exceeded the limit of 6000 over time window of 300 seconds.",
    },
    Throttle {
        code: "0x80072321",
        message: "Combined execution time of incoming requests exceeded limit of 1,200,000 \
                  milliseconds over time window of 300 seconds. Decrease number of concurrent \
                  requests or reduce the duration of requests and try again later.",
    },
    Throttle {
        code: "0x80072326",
        message: "Number of concurrent requests exceeded the limit of 52.",
    },
];

impl DataverseFaults {
    pub(super) fn draw(&self, dice: &mut Dice) -> Fault {
        let mut rates = vec![
            self.rate_429,
            self.rate_503,
            self.rate_reset_before,
            self.rate_reset_after,
        ];
        rates.extend(self.rate_known.values());
        match dice.pick(&rates) {
            Some(0) => Fault::Throttled(THROTTLES[dice.below(THROTTLES.len())]),
            Some(1) => Fault::Unavailable,
            Some(2) => Fault::ResetBefore,
            Some(3) => Fault::ResetAfter,
            Some(known) => {
                let name = self.rate_known.keys().nth(known - 4);
                let known = name.and_then(|name| KnownAnswer::named(name));
                known.map_or(Fault::None, Fault::Known)
            }
            None => Fault::None,
        }
    }

    /// # Errors
    /// A sentence naming a known answer that does not exist.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut names = self.rate_known.keys();
        match names.find(|name| KnownAnswer::named(name).is_none()) {
            Some(name) => Err(format!("there is no known answer {name:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn draw_part(&self, dice: &mut Dice) -> Option<Throttle> {
        dice.pick(&[self.rate_batch_part_429]).map(|_| THROTTLES[0])
    }

    pub(super) fn draw_post(&self, dice: &mut Dice) -> PostFault {
        match dice.pick(&[self.rate_post_failure, self.rate_post_crash]) {
            Some(0) => PostFault::Fails,
            Some(_) => PostFault::CrashesAfterwards,
            None => PostFault::None,
        }
    }
}
