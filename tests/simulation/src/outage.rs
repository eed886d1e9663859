//! Swizzled outages: a random set of parts stops one by one, stays away, and comes back in another
//! order.

use std::sync::Arc;

use tokio::time::sleep;

use crate::plan::Fault;
use crate::world::{Part, World};

/// Stops and starts parts until people have stopped working.
pub(crate) async fn outages(world: Arc<World>) {
    if world.lock().plan.rate(Fault::Outage) > 0.0 {
        let rounds = world.lock().dice.between(1, 4);
        for _ in 0..rounds {
            swizzle(&world).await;
        }
    }
    world.lock().busy -= 1;
}

async fn swizzle(world: &World) {
    let mut parts = {
        let mut s = world.lock();
        let mut parts = vec![
            Part::Dataverse,
            Part::Target,
            Part::OutboundQueue,
            Part::InboundQueue,
        ];
        parts.extend((0..s.plan.outbound_instances).map(Part::OutboundInstance));
        parts.extend((0..s.plan.inbound_instances).map(Part::InboundInstance));
        s.dice.shuffle(&mut parts);
        let most = s.dice.index(parts.len());
        parts.truncate(most + 1);
        parts
    };
    pause(world, 60_000).await;
    for part in &parts {
        set(world, *part, true);
        pause(world, 5_000).await;
    }
    // Most outages are short; some last longer than any patience.
    let most = world.lock().dice.pick(&[10_000, 60_000, 1_200_000]);
    pause(world, most).await;
    world.lock().dice.shuffle(&mut parts);
    for part in &parts {
        set(world, *part, false);
        pause(world, 5_000).await;
    }
}

async fn pause(world: &World, most_ms: u64) {
    let pause = world.lock().dice.millis(1, most_ms);
    sleep(pause).await;
}

fn set(world: &World, part: Part, down: bool) {
    let mut s = world.lock();
    if down {
        s.down.insert(part);
        s.figures.outages += 1;
    } else {
        s.down.remove(&part);
    }
    let state = if down { "stops" } else { "is back" };
    s.note(None, format!("{part:?} {state}"));
    drop(s);
    world.stirred.notify_waiters();
}
