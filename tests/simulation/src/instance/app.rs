//! The two function apps: the shipped passes over the ports of one life.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use sync_core::guarded::{Guard, Guarded};
use sync_core::inbound::Inbound;
use sync_core::outbound::{Outbound, OutboundParts};
use sync_core::outbox::Sweeper;
use sync_core::ports::SharedRng;
use sync_core::queue::Settler;
use tokio::time::sleep;

use super::Handler;
use crate::broker::SimQueue;
use crate::dataverse::{SimAcknowledgements, SimOutbox, SimSource};
use crate::life::Life;
use crate::target::SimTarget;
use crate::world::Which;

/// The most a flight, or an acknowledgement, may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two sweeps of one instance.
const SWEEP: Duration = Duration::from_secs(30);
/// A claimed outbox row is left to its sweeper for this long.
const LEASE: Duration = Duration::from_secs(120);

fn queue(life: &Arc<Life>, which: Which) -> Arc<SimQueue> {
    Arc::new(SimQueue {
        life: Arc::clone(life),
        which,
    })
}

fn rng(life: &Life) -> SharedRng {
    let seed = life.world.lock().dice.seed();
    Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)))
}

/// A port behind its breaker, as the shipped apps put it.
fn guarded<P>(life: &Life, name: &'static str, port: P) -> Arc<Guarded<P>> {
    let guard = Guard::new(name, life.world.config.breaker.clone());
    Arc::new(Guarded::new(guard, Arc::new(port)))
}

pub(super) fn outbound(life: &Arc<Life>) -> Handler {
    let me = || Arc::clone(life);
    let outbound = Outbound::new(OutboundParts {
        config: Arc::clone(&life.world.config),
        source: guarded(life, "Dataverse", SimSource { life: me() }),
        target: guarded(life, "target", SimTarget { life: me() }),
        outbound: queue(life, Which::Outbound),
        inbound: queue(life, Which::Inbound),
        clock: Arc::new(life.world.clock),
        rng: rng(life),
        deadline: DEADLINE,
    });
    Arc::new(move |message| {
        let outbound = outbound.clone();
        Box::pin(async move { outbound.handle(message).await })
    })
}

pub(super) fn inbound(life: &Arc<Life>) -> Handler {
    let settler = Settler::new(
        queue(life, Which::Inbound),
        Arc::new(life.world.clock),
        rng(life),
    );
    let rows = SimAcknowledgements {
        life: Arc::clone(life),
    };
    let rows = guarded(life, "Dataverse", rows);
    let inbound = Inbound::new(
        Arc::clone(&life.world.config),
        rows,
        settler,
        rng(life),
        DEADLINE,
    );
    Arc::new(move |message| {
        let inbound = inbound.clone();
        Box::pin(async move { inbound.handle(message).await })
    })
}

pub(super) async fn sweeps(life: Arc<Life>) {
    let outbox = Arc::new(SimOutbox {
        life: Arc::clone(&life),
    });
    let clock = Arc::new(life.world.clock);
    let sweeper = Sweeper::new(
        outbox,
        queue(&life, Which::Outbound),
        clock,
        rng(&life),
        LEASE,
    );
    loop {
        sleep(SWEEP).await;
        // A sweep that fails is tried again at the next tick.
        let _ = sweeper.sweep().await;
    }
}
