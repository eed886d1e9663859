//! What a person may break on the page, and mend: the target, and Dataverse in three ways.

use std::collections::BTreeMap;

use local_stack::dataverse::{Dataverse, DataverseFaults};
use local_stack::target::{Down, Target};

/// The known answer of an app user that lacks a privilege.
pub(super) const FORBIDS: &str = "privilege_missing";
/// `Retry-After` of the switch's throttling, seconds: long enough to be seen.
const RETRY_AFTER_S: u64 = 3;

/// A position of Dataverse's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Up,
    Down,
    Throttling,
    Forbidding,
}

impl Position {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Up, "up"),
        (Self::Down, "down"),
        (Self::Throttling, "throttling"),
        (Self::Forbidding, "forbidding"),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        let named = Self::ALL.into_iter().find(|(_, known)| *known == name);
        named.map(|(position, _)| position)
    }

    pub(super) fn name(self) -> &'static str {
        let own = Self::ALL
            .into_iter()
            .find(|(position, _)| *position == self);
        own.map_or("", |(_, name)| name)
    }

    /// Every request of the integration meets it; what `--faults` asked for waits meanwhile.
    fn faults(self, usual: &DataverseFaults) -> DataverseFaults {
        let only = DataverseFaults {
            seed: usual.seed,
            latency_ms: usual.latency_ms,
            ..DataverseFaults::default()
        };
        match self {
            Self::Up => usual.clone(),
            Self::Down => DataverseFaults {
                rate_503: 1.0,
                ..only
            },
            Self::Throttling => DataverseFaults {
                rate_429: 1.0,
                retry_after_s: RETRY_AFTER_S,
                ..only
            },
            Self::Forbidding => DataverseFaults {
                rate_known: BTreeMap::from([(FORBIDS.to_owned(), 1.0)]),
                ..only
            },
        }
    }
}

/// Dataverse's switch.
#[derive(Debug)]
pub(super) struct Switch {
    position: Position,
    /// The faults in force while it is up.
    usual: DataverseFaults,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            position: Position::Up,
            usual: DataverseFaults::default(),
        }
    }
}

impl Switch {
    pub(super) fn turn(&mut self, dataverse: &Dataverse, to: Position) {
        if self.position == to {
            return;
        }
        if self.position == Position::Up {
            self.usual = dataverse.faults();
        }
        self.position = to;
        dataverse.set_faults(to.faults(&self.usual));
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }
}

/// Where the target's switch is, whoever turned it.
pub(super) fn target(target: &Target) -> &'static str {
    match target.faults().down {
        Down::No => "up",
        Down::Unavailable | Down::Reset => "down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switched_fault_hits_every_request_and_going_up_brings_back_the_runs_own() {
        let usual = DataverseFaults {
            rate_429: 0.03,
            rate_post_failure: 0.1,
            ..DataverseFaults::default()
        };
        for (position, name) in Position::ALL {
            assert_eq!(Position::named(name), Some(position));
            let faults = position.faults(&usual);
            if position == Position::Up {
                assert_eq!(faults, usual);
            } else {
                let known: f64 = faults.rate_known.values().sum();
                let sum = faults.rate_429 + faults.rate_503 + known + faults.rate_post_failure;
                assert!((sum - 1.0).abs() < f64::EPSILON, "{name}");
            }
        }
    }
}
