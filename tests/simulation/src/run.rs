//! One run: faults and work first, then calm and a drain, then the ledger.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sync_core::config::SyncConfig;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::dataverse::people;
use crate::figures::Figures;
use crate::instance::instance;
use crate::journal::Journal;
use crate::ledger::Violation;
use crate::operator::operator;
use crate::outage::outages;
use crate::plan::Plan;
use crate::world::{Part, World};

/// The run's own `sync.json`; its patience stands once more in `ledger::copies`.
const SYNC_JSON: &str = r#"{
  "targetSystem": "simulated",
  "target": { "timeoutSeconds": 5 },
  "retry": {
    "baseSeconds": 5, "factor": 2, "capSeconds": 120, "jitter": 0.2, "maxRetries": 8,
    "maxAgeHours": 4, "configDelaySeconds": 60, "inProcessRetries": 2
  },
  "tables": {
    "account": {
      "entitySet": "accounts", "primaryKey": "accountid",
      "fields": { "name": "name", "note": "description", "source": { "constant": "simulation" } },
      "target": { "path": "/customers/{sourceRowId}" }, "onDelete": "delete"
    },
    "contact": {
      "entitySet": "contacts", "primaryKey": "contactid",
      "fields": { "name": "name", "source": { "constant": "simulation" } },
      "target": { "path": "/contacts/{sourceRowId}" }, "onDelete": "ignore"
    }
  }
}"#;

/// The backlog is gone this long after the last fault, or I10 is broken. Longer than the longest
/// backoff of all retries together.
const DRAIN: Duration = Duration::from_secs(2 * 3600);
/// Longer than any request can be under way.
const QUIET: Duration = Duration::from_secs(70);

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Counters.
    pub figures: Figures,
    /// Broken promises, in the order they were noticed.
    pub violations: Vec<Violation>,
    /// The events.
    pub journal: Journal,
}

/// Runs a plan from beginning to end. `keep_story` keeps the events for reading.
///
/// # Errors
/// When the runtime or the configuration cannot be set up.
pub fn run(plan: &Plan, keep_story: bool) -> anyhow::Result<Outcome> {
    let config = SyncConfig::parse(SYNC_JSON, "the simulation's sync.json")?;
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("the runtime cannot start")?;
    Ok(runtime.block_on(live(plan.clone(), Arc::new(config), keep_story)))
}

async fn live(plan: Plan, config: Arc<SyncConfig>, keep_story: bool) -> Outcome {
    let started = Instant::now();
    let (outbound, inbound) = (plan.outbound_instances, plan.inbound_instances);
    let world = World::new(plan, config, keep_story);
    let instances = (0..outbound).map(Part::OutboundInstance);
    for part in instances.chain((0..inbound).map(Part::InboundInstance)) {
        tokio::spawn(instance(Arc::clone(&world), part));
    }
    world.lock().busy = 2;
    tokio::spawn(people(Arc::clone(&world)));
    tokio::spawn(outages(Arc::clone(&world)));
    tokio::spawn(operator(Arc::clone(&world)));
    while world.lock().busy > 0 {
        sleep(Duration::from_secs(1)).await;
    }
    let tail = world.lock().dice.millis(1, 60_000);
    sleep(tail).await;
    {
        let mut s = world.lock();
        s.calm = true;
        s.down.clear();
        s.note(None, "calm: no fault strikes any more".into());
    }
    world.stirred.notify_waiters();
    let end = Instant::now() + DRAIN;
    while Instant::now() < end {
        let quiet = world.lock().is_quiet();
        sleep(if quiet { QUIET } else { Duration::from_secs(1) }).await;
        // What was under way may have landed meanwhile.
        if quiet && world.lock().is_quiet() {
            break;
        }
    }
    let mut s = world.lock();
    s.check_end();
    s.figures.virtual_seconds = started.elapsed().as_secs();
    Outcome {
        figures: s.figures,
        violations: std::mem::take(&mut s.watch.violations),
        journal: std::mem::replace(&mut s.journal, Journal::new(false)),
    }
}
