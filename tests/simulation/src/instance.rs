//! A function app instance under its Functions host: receives, invokes, renews locks, completes or
//! abandons; dies and comes back.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use sync_core::decide::Disposition;
use sync_core::inbound::Inbound;
use sync_core::message::Message;
use sync_core::outbound::{Outbound, OutboundParts};
use sync_core::outbox::Sweeper;
use sync_core::ports::SharedRng;
use sync_core::queue::{NotSettled, Settler};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::broker::{LOCK, SimQueue, Stored};
use crate::dataverse::{SimAcknowledgements, SimOutbox, SimSource};
use crate::life::Life;
use crate::plan::Fault;
use crate::target::SimTarget;
use crate::world::{Part, Which, World};

/// The most a flight, or an acknowledgement, may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two sweeps of one instance.
const SWEEP: Duration = Duration::from_secs(30);

/// A claimed outbox row is left to its sweeper for this long.
const LEASE: Duration = Duration::from_secs(120);

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
        Which::Outbound => outbound(life),
        Which::Inbound => inbound(life),
    };
    let mut tasks = JoinSet::new();
    if which == Which::Inbound {
        tasks.spawn(sweeps(Arc::clone(life)));
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
        while tasks.try_join_next().is_some() {}
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
                    _ = tasks.join_next() => {}
                    () = stirred => {}
                }
            }
            None => stirred.await,
        }
    }
}

struct Invocation {
    life: Arc<Life>,
    which: Which,
    token: Uuid,
    stored: Stored,
    handler: Handler,
}

enum Ended {
    Answered(Result<Disposition, NotSettled>),
    Dropped,
}

impl Invocation {
    async fn run(self) {
        let world = Arc::clone(&self.life.world);
        let (network, drop_after, lose_after) = {
            let mut s = world.lock();
            s.handling(&self.life, self.which, self.token, &self.stored);
            // A dropped invocation leaves a flight behind that nobody can fence on a plain target.
            let drops = s.plan.guard && s.strikes(Fault::Drop);
            let loses = s.strikes(Fault::LockLost);
            let never = Duration::from_secs(86_400);
            let drop_after = if drops { s.dice.millis(1, 4000) } else { never };
            let lose_after = if loses { s.dice.millis(1, 4000) } else { never };
            (s.hop(), drop_after, lose_after)
        };
        sleep(network).await;
        let work = (self.handler)(self.message());
        let ended = tokio::select! {
            biased;
            answer = work => Ended::Answered(answer),
            () = sleep(drop_after) => Ended::Dropped,
            () = self.keep_lock(lose_after) => Ended::Dropped,
        };
        let failed = !matches!(ended, Ended::Answered(Ok(_)));
        world.lock().handled(self.token, failed);
        self.settle(ended).await;
    }

    /// Renews the lock for as long as it can; never ends.
    async fn keep_lock(&self, lose_after: Duration) {
        let world = &self.life.world;
        if lose_after < LOCK {
            sleep(lose_after).await;
            {
                let mut s = world.lock();
                s.figures.locks_lost += 1;
                s.give_back(world, self.which, self.token, "its lock was lost");
            }
            return std::future::pending().await;
        }
        loop {
            sleep(LOCK / 2).await;
            let mut s = world.lock();
            let now = s.now();
            if !s.is_down(self.which.part()) {
                s.queue(self.which).renew(self.token, now);
            }
        }
    }

    async fn settle(&self, ended: Ended) {
        self.life.point().await;
        let world = &self.life.world;
        let pause = world.lock().hop();
        sleep(pause).await;
        let mut s = world.lock();
        if s.is_down(self.which.part()) || s.strikes(Fault::SettleLost) {
            return;
        }
        match ended {
            Ended::Answered(Ok(disposition)) => {
                s.answered(self.which, &disposition);
                s.complete(self.which, self.token);
            }
            Ended::Answered(Err(_)) => {
                s.give_back(world, self.which, self.token, "its invocation failed");
            }
            Ended::Dropped => {
                s.give_back(world, self.which, self.token, "its invocation was dropped");
            }
        }
    }

    fn message(&self) -> Message {
        Message {
            body: self.stored.body.clone(),
            message_id: self.stored.message_id.clone(),
            correlation_id: self.stored.correlation_id.clone(),
            lock_token: self.token,
            delivery_count: self.stored.failed + 1,
            enqueued_time: self.stored.enqueued,
            session_id: self.stored.session_id.clone(),
            content_type: self.stored.content_type.clone(),
            subject: self.stored.subject.clone(),
            properties: self.stored.properties.clone(),
        }
    }
}

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

fn outbound(life: &Arc<Life>) -> Handler {
    let outbound = Outbound::new(OutboundParts {
        config: Arc::clone(&life.world.config),
        source: Arc::new(SimSource {
            life: Arc::clone(life),
        }),
        target: Arc::new(SimTarget {
            life: Arc::clone(life),
        }),
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

fn inbound(life: &Arc<Life>) -> Handler {
    let settler = Settler::new(
        queue(life, Which::Inbound),
        Arc::new(life.world.clock),
        rng(life),
    );
    let rows = Arc::new(SimAcknowledgements {
        life: Arc::clone(life),
    });
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

async fn sweeps(life: Arc<Life>) {
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
