//! Who is in the world, and what every part shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sync_core::config::{AckColumns, SyncConfig};
use sync_core::ports::Clock;
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::broker::BrokerQueue;
use crate::clock::SimClock;
use crate::dataverse::Dataverse;
use crate::dice::Dice;
use crate::figures::Figures;
use crate::journal::Journal;
use crate::ledger::watch::Watch;
use crate::plan::{Fault, Plan};
use crate::target::TargetSystem;
use crate::truth::Truth;

/// Parts that an outage can stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Dataverse,
    Target,
    OutboundQueue,
    InboundQueue,
    OutboundInstance(usize),
    InboundInstance(usize),
}

/// The two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Outbound,
    Inbound,
}

impl Which {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Outbound => Part::OutboundQueue,
            Self::Inbound => Part::InboundQueue,
        }
    }
}

/// The simulated world.
pub(crate) struct World {
    state: Mutex<State>,
    pub(crate) config: Arc<SyncConfig>,
    pub(crate) clock: SimClock,
    /// Something became receivable, or a part came back.
    pub(crate) stirred: Notify,
}

/// What is in it, behind its one lock. No task holds it across an await.
pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) clock: SimClock,
    pub(crate) journal: Journal,
    pub(crate) figures: Figures,
    pub(crate) truth: Truth,
    pub(crate) dataverse: Dataverse,
    pub(crate) target: TargetSystem,
    pub(crate) outbound: BrokerQueue,
    pub(crate) inbound: BrokerQueue,
    pub(crate) watch: Watch,
    /// No fault strikes any more.
    pub(crate) calm: bool,
    /// Stopped parts.
    pub(crate) down: BTreeSet<Part>,
    /// People, plug-in steps and outages that are still under way.
    pub(crate) busy: usize,
    pub(crate) lives: usize,
    pub(crate) row_numbers: BTreeMap<Uuid, usize>,
    pub(crate) own_columns: AckColumns,
}

impl World {
    pub(crate) fn new(plan: Plan, config: Arc<SyncConfig>, keep_story: bool) -> Arc<Self> {
        let clock = SimClock::start();
        let state = State {
            dice: Dice::new(plan.seed),
            clock,
            journal: Journal::new(keep_story),
            figures: Figures::default(),
            truth: Truth::default(),
            dataverse: Dataverse::default(),
            target: TargetSystem::default(),
            outbound: BrokerQueue::new("outbound", plan.duplicate_window),
            inbound: BrokerQueue::new("inbound", plan.duplicate_window),
            watch: Watch::default(),
            calm: false,
            down: BTreeSet::new(),
            busy: 0,
            lives: 0,
            row_numbers: (0..plan.rows).map(|row| (row_id(row), row)).collect(),
            own_columns: AckColumns::default(),
            plan,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            config,
            clock,
            stirred: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a part is stopped.
    pub(crate) async fn until_up(&self, part: Part) {
        loop {
            let stirred = self.stirred.notified();
            if !self.lock().down.contains(&part) {
                return;
            }
            stirred.await;
        }
    }
}

impl State {
    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Whether a fault strikes here and now.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        !self.calm && self.dice.chance(self.plan.rate(fault))
    }

    pub(crate) fn note(&mut self, row: Option<usize>, text: String) {
        let now = self.now();
        self.journal.note(now, row, text);
    }

    pub(crate) fn is_down(&self, part: Part) -> bool {
        self.down.contains(&part)
    }

    pub(crate) fn queue(&mut self, which: Which) -> &mut BrokerQueue {
        match which {
            Which::Outbound => &mut self.outbound,
            Which::Inbound => &mut self.inbound,
        }
    }

    /// How long a hop of an ordinary call takes.
    pub(crate) fn hop(&mut self) -> Duration {
        self.dice.millis(1, 40)
    }

    /// The number of a row in this run.
    pub(crate) fn number(&self, row: Uuid) -> Option<usize> {
        self.row_numbers.get(&row).copied()
    }
}

/// The id of a row by its number.
pub(crate) fn row_id(number: usize) -> Uuid {
    Uuid::from_u128(0x0a11_0000_0000_0000_0000_0000_0000_0000 + number as u128)
}

/// Every third row is of the table whose deletes the target ignores.
pub(crate) fn table_of(number: usize) -> &'static str {
    if number % 3 == 2 {
        "contact"
    } else {
        "account"
    }
}
