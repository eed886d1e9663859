//! What a seed means: how much work, how many instances, which faults at which rates.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::dice::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A class of faults, or a kind of trouble in the workload. Each can be switched off on its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// All of them.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// The name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Fault::$name => $text),* } }
        }
    };
}

faults! {
    /// Rows are deleted.
    Delete = "delete",
    /// Deleted rows come back under the same id.
    Recreate = "recreate",
    /// Rows take values that the target refuses.
    Refuse = "refuse",
    /// Notifications that cannot be used.
    Poison = "poison",
    /// Dataverse's native event shape, which carries no version.
    Native = "native",
    /// People ask for rows to be sent again.
    Resync = "resync",
    /// An operator resends dead letters.
    Resend = "resend",
    /// The plug-in fails to post, or dies between send and delete.
    Plugin = "plugin",
    /// An instance dies at an await.
    Crash = "crash",
    /// The host drops an invocation whose flight goes on.
    Drop = "drop",
    /// A lock is lost while its message is worked on.
    LockLost = "lock-lost",
    /// Completing or abandoning does not reach the broker.
    SettleLost = "settle-lost",
    /// The broker hands messages out in another order.
    Reorder = "reorder",
    /// The broker refuses to take a message.
    SendError = "send-error",
    /// The broker takes a message and its answer is lost.
    SendLost = "send-lost",
    /// Dataverse answers 5xx, or not at all.
    DataverseError = "dataverse-error",
    /// Dataverse answers 429 with Retry-After.
    DataverseThrottle = "dataverse-throttle",
    /// The target takes long.
    TargetSlow = "target-slow",
    /// The target answers 500, before or after applying.
    TargetError = "target-error",
    /// The target answers 429 with Retry-After.
    TargetThrottle = "target-throttle",
    /// The target answers 409.
    TargetConflict = "target-conflict",
    /// The target's answer is lost after it applied the change.
    TargetTimeout = "target-timeout",
    /// The target applies a change after its caller gave up.
    TargetLate = "target-late",
    /// The target answers 401 for a while.
    TargetUnauthorized = "target-unauthorized",
    /// Parts stop one by one and come back in another order.
    Outage = "outage",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().copied();
        known.clone().find(|f| f.name() == s).ok_or_else(|| {
            let names: Vec<_> = known.map(Fault::name).collect();
            format!("no fault is called {s:?}; there are {}", names.join(", "))
        })
    }
}

/// What a target does to help itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// Nothing: the last write wins, as in most systems.
    Plain,
    /// It refuses what is older than what it holds.
    Comparing,
    /// It carries out each idempotency key once, and repeats its answer after that.
    RememberingKeys,
}

impl TargetKind {
    /// Plain ones are the most common and the hardest.
    const ALL: [Self; 4] = [
        Self::Plain,
        Self::Plain,
        Self::Comparing,
        Self::RememberingKeys,
    ];
}

/// Everything a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seeds every generator of the run.
    pub seed: u64,
    /// Business changes.
    pub notifications: u32,
    /// Rows they fall on.
    pub rows: usize,
    /// Instances of outbound-fn.
    pub outbound_instances: usize,
    /// Instances of inbound-fn.
    pub inbound_instances: usize,
    /// Messages an instance works on at once.
    pub concurrency: usize,
    /// Mean time between two changes.
    pub pace: Duration,
    /// What the target does to help itself.
    pub target: TargetKind,
    /// Duplicate detection window of the queues.
    pub duplicate_window: Option<Duration>,
    /// How long after its caller gave up the target may still apply a change.
    pub lateness: Duration,
    rates: Vec<f64>,
}

/// How likely a fault strikes where it may.
const RATES: [f64; 5] = [0.003, 0.01, 0.03, 0.1, 0.25];

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of_seed(seed: u64, notifications: u32) -> Self {
        // Another stream than the run's own, so that a plan can be shrunk and its run stays comparable.
        let mut dice = Dice::new(seed ^ 0x5eed_5eed_5eed_5eed);
        // Many seeds have few classes of faults, often: where everything fails, little gets far enough
        // to go wrong in an interesting way.
        let share = dice.pick(&[0.1, 0.15, 0.2, 0.3, 0.6, 1.0]);
        let rates = if share < 0.25 {
            &RATES[2..]
        } else {
            &RATES[..]
        };
        let concurrency = dice.pick(&[4, 16, 64]);
        let rates = Fault::ALL.iter().map(|fault| {
            let (on, rate) = (dice.chance(share), dice.pick(rates));
            match (on, fault) {
                (false, _) => 0.0,
                // Per await, of which a message has a dozen, and each death takes all that is in hand.
                (true, Fault::Crash) => rate.min(0.03) / (1.0 + concurrency as f64 / 4.0),
                (true, Fault::SettleLost | Fault::LockLost) => rate.min(0.1),
                (true, _) => rate,
            }
        });
        Self {
            seed,
            notifications,
            rates: rates.collect(),
            rows: dice.pick(&[1, 2, 4, 8, 16]),
            outbound_instances: dice.pick(&[1, 2, 2, 3]),
            inbound_instances: dice.pick(&[1, 2]),
            concurrency,
            pace: Duration::from_millis(dice.pick(&[5, 50, 500, 3000])),
            target: dice.pick(&TargetKind::ALL),
            duplicate_window: dice
                .pick(&[None, Some(30), Some(600)])
                .map(Duration::from_secs),
            lateness: Duration::from_secs(4),
        }
    }

    /// How likely `fault` strikes where it may; 0 when it is off.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> f64 {
        self.rates[fault as usize]
    }

    /// The same plan without a class of faults.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.rates[fault as usize] = 0.0;
        self
    }

    /// The classes that are on.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let on = |fault: &Fault| self.rate(*fault) > 0.0;
        Fault::ALL.iter().copied().filter(on).collect()
    }

    /// The arguments that replay this plan.
    #[must_use]
    pub fn arguments(&self) -> String {
        let original = Self::of_seed(self.seed, self.notifications);
        let (was, is) = (original.faults(), self.faults());
        let off: Vec<_> = was
            .iter()
            .filter(|f| !is.contains(f))
            .map(|f| f.name())
            .collect();
        let mut text = format!(
            "--seed {} --notifications {}",
            self.seed, self.notifications
        );
        for (name, was, is) in [
            ("rows", original.rows, self.rows),
            (
                "outbound-instances",
                original.outbound_instances,
                self.outbound_instances,
            ),
            (
                "inbound-instances",
                original.inbound_instances,
                self.inbound_instances,
            ),
        ] {
            if was != is {
                text.push_str(&format!(" --{name} {is}"));
            }
        }
        if !off.is_empty() {
            text.push_str(&format!(" --without {}", off.join(",")));
        }
        text
    }
}
