//! A function app instance under its Functions host: receives, invokes, renews locks, completes or
//! abandons; dies and comes back.

mod app;
mod invocation;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use sync_core::decide::Disposition;
use sync_core::message::Message;
use sync_core::queue::NotSettled;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use uuid::Uuid;

use self::invocation::Invocation;
use crate::life::Life;
use crate::world::{Part, Which, World};

type Answer = Pin<Box<dyn Future<Output = Result<Disposition, NotSettled>> + Send>>;
type Handler = Arc<dyn Fn(Message) -> Answer + Send + Sync>;
/// Locks an instance holds, for its host to give back.
type Held = Arc<Mutex<BTreeSet<Uuid>>>;

/// Lives, dies and comes back until the run ends.
pub(crate) async fn instance(world: Arc<World>, part: Part) {
    let (which, label) = match part {
        Part::OutboundInstance(n) => (Which::Outbound, format!("out{n}")),
        Part::InboundInstance(n) => (Which::Inbound, format!("in{n}")),
        _ => return,
    };
    for generation in 1.. {
        world.until_up(part).await;
        let number = {
            let mut s = world.lock();
            s.lives += 1;
            s.lives
        };
        let life = Life::new(&world, format!("{label}.{generation}"), number);
        let held = Held::default();
        live(&life, which, part, &held).await;
        // Everything the instance held in memory is gone by now.
        let (host_survives, pause) = {
            let mut s = world.lock();
            s.crashed(&life);
            (s.dice.chance(0.5), s.dice.millis(100, 20_000))
        };
        let held = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
        if host_survives {
            // The process died, its host lives and abandons at once. Otherwise the locks expire.
            let mut s = world.lock();
            for token in held {
                s.give_back(&world, which, token, "its instance died");
            }
        }
        sleep(pause).await;
    }
}

/// One life, from start to crash.
async fn live(life: &Arc<Life>, which: Which, part: Part, held: &Held) {
    let handler = match which {
        Which::Outbound => app::outbound(life),
        Which::Inbound => app::inbound(life),
    };
    let mut tasks = JoinSet::new();
    if which == Which::Inbound {
        tasks.spawn(app::sweeps(Arc::clone(life)));
    }
    tokio::select! {
        biased;
        () = life.end() => {}
        () = until_stopped(life, part) => life.kill("in an outage"),
        () = receive(life, which, &handler, held, &mut tasks) => {}
    }
    tasks.shutdown().await;
}

async fn until_stopped(life: &Life, part: Part) {
    loop {
        let stirred = life.world.stirred.notified();
        if life.world.lock().is_down(part) {
            return;
        }
        stirred.await;
    }
}

async fn receive(
    life: &Arc<Life>,
    which: Which,
    handler: &Handler,
    held: &Held,
    tasks: &mut JoinSet<()>,
) {
    let world = &life.world;
    let room = world.lock().plan.concurrency;
    loop {
        let stirred = world.stirred.notified();
        while let Some(ended) = tasks.try_join_next() {
            check_ended(world, ended);
        }
        let taken = {
            let mut s = world.lock();
            let usable = !s.is_down(which.part()) && tasks.len() < room;
            if usable { s.take(world, which) } else { None }
        };
        match taken {
            Some((token, stored)) => {
                held.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(token);
                let invocation = Invocation {
                    life: Arc::clone(life),
                    which,
                    token,
                    stored,
                    handler: Arc::clone(handler),
                };
                let held = Arc::clone(held);
                tasks.spawn(async move {
                    invocation.run().await;
                    held.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&token);
                });
            }
            None if tasks.len() >= room => {
                tokio::select! {
                    biased;
                    Some(ended) = tasks.join_next() => check_ended(world, ended),
                    () = stirred => {}
                }
            }
            None => stirred.await,
        }
    }
}

/// The shipped code does not panic.
fn check_ended(world: &World, ended: Result<(), JoinError>) {
    if ended.is_err_and(|e| e.is_panic()) {
        let text = "an invocation panicked".into();
        world.lock().violation("I1", None, text);
    }
}
