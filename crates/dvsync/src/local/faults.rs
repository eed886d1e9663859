//! What goes wrong on purpose in `dvsync local`.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use local_stack::dataverse::DataverseFaults;
use local_stack::stack::Stack;
use local_stack::target::Faults;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::OffsetDateTime;

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Nothing.
    None,
    /// A few per cent of all calls.
    Light,
    /// A fifth of all calls, posts that fail, and handlers killed with SIGKILL.
    Heavy,
}

/// `heavy` kills at least this often, however fast the work is done.
const KILLS: u64 = 4;

/// Does the damage. The faults of calls stay on until everything is drained.
pub(super) struct Saboteur {
    rng: StdRng,
    kills_left: u64,
    next_kill: Instant,
    outage: Outage,
}

/// The first target, down for a while.
enum Outage {
    None,
    Planned(Duration),
    Until(Instant),
    Over(OffsetDateTime),
}

impl Saboteur {
    pub(super) fn new(
        profile: Profile,
        seed: u64,
        outage: Option<Duration>,
        stack: &Stack,
    ) -> Self {
        if profile != Profile::None {
            let heavy = if profile == Profile::Heavy { 3.0 } else { 1.0 };
            let faults = Faults {
                seed,
                rate_500: 0.03 * heavy,
                rate_429: 0.015 * heavy,
                rate_timeout_before_apply: 0.004 * heavy,
                rate_timeout_after_apply: 0.004 * heavy,
                rate_timeout_late_apply: 0.004 * heavy,
                rate_reset_before_apply: 0.005 * heavy,
                rate_reset_after_apply: 0.005 * heavy,
                latency_ms: 5,
                ..Faults::default()
            };
            for (target, seed) in stack.targets().zip(seed..) {
                let faults = faults.clone();
                target.set_faults(Faults { seed, ..faults });
            }
            stack.dataverse.set_faults(DataverseFaults {
                seed,
                rate_429: 0.01 * heavy,
                rate_503: 0.02 * heavy,
                rate_reset_before: 0.005 * heavy,
                rate_reset_after: 0.005 * heavy,
                rate_post_failure: 0.01 * heavy,
                rate_post_crash: 0.01 * heavy,
                latency_ms: 2,
                ..DataverseFaults::default()
            });
        }
        Self {
            rng: StdRng::seed_from_u64(seed ^ 0x5eed),
            kills_left: if profile == Profile::Heavy { KILLS } else { 0 },
            next_kill: Instant::now() + Duration::from_millis(600),
            outage: outage.map_or(Outage::None, Outage::Planned),
        }
    }

    /// Kills a handler if it is time; returns how many were killed.
    pub(super) fn act(&mut self, stack: &Stack, all_saved: bool) -> u64 {
        if self.kills_left == 0 || Instant::now() < self.next_kill {
            return 0;
        }
        let outbound: Vec<_> = stack.outbound_fleets().collect();
        let fleet = if self.rng.random_bool(0.6) {
            outbound[self.rng.random_range(0..outbound.len())]
        } else {
            &stack.inbound
        };
        let hosts = fleet.hosts();
        let host = &hosts[self.rng.random_range(0..hosts.len())];
        // Between a crash and the restart there is nothing to kill; a kill that hits an idle process
        // would prove little, unless the work is all but done.
        let busy = host.invocations().in_flight() > 0;
        if host.handler_pid().is_none() || !(busy || all_saved) {
            return 0;
        }
        host.kill_handler();
        self.kills_left -= 1;
        self.next_kill = Instant::now() + Duration::from_millis(self.rng.random_range(400..1500));
        1
    }

    /// Begins the planned outage, and ends it when its time is over.
    pub(super) fn outage(&mut self, stack: &Stack) {
        match self.outage {
            Outage::Planned(length) => {
                stack.target.set_down(true);
                self.outage = Outage::Until(Instant::now() + length);
            }
            Outage::Until(end) if Instant::now() >= end => {
                stack.target.set_down(false);
                self.outage = Outage::Over(OffsetDateTime::now_utc());
            }
            _ => {}
        }
    }

    /// When the outage ended.
    pub(super) fn outage_ended(&self) -> Option<OffsetDateTime> {
        match self.outage {
            Outage::Over(at) => Some(at),
            _ => None,
        }
    }

    /// Whether all the damage is done.
    pub(super) fn is_done(&self) -> bool {
        self.kills_left == 0 && !matches!(self.outage, Outage::Planned(_) | Outage::Until(_))
    }
}
