//! The receiving side: handing out, settling, and the timers of schedules and locks.

use std::sync::Arc;

use sync_core::ports::Clock;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Accepted, Returned, Stored};
use crate::plan::Fault;
use crate::world::{State, Which, World};

impl State {
    /// Takes a message in, tells the ledger, and sees to it that a scheduled one appears in time.
    pub(crate) fn accept(
        &mut self,
        world: &Arc<World>,
        which: Which,
        message: service_bus::OutgoingMessage,
    ) {
        let now = self.now();
        let (about, row) = self.identify(which, &message);
        let id = message.message_id.clone().unwrap_or_default();
        let accepted = self.queue(which).accept(message, about, now);
        let name = self.queue(which).name;
        match accepted {
            Accepted::Active => self.note(row, format!("{name} queue takes {id}")),
            Accepted::Folded => {
                self.figures.folded += 1;
                self.note(row, format!("{name} queue folds {id}, a duplicate"));
            }
            Accepted::Scheduled { sequence, at } => {
                self.figures.retries += 1;
                let wait = (at - now).as_seconds_f64();
                self.note(
                    row,
                    format!("{name} queue takes {id}, scheduled in {wait:.1}s"),
                );
                let (world, wait) = (Arc::clone(world), (at - now).unsigned_abs());
                tokio::spawn(async move {
                    sleep(wait).await;
                    world.lock().queue(which).enqueue(sequence);
                    world.stirred.notify_waiters();
                });
            }
        }
        world.stirred.notify_waiters();
    }

    /// Hands out a message under a lock that somebody watches.
    pub(crate) fn take(&mut self, world: &Arc<World>, which: Which) -> Option<(Uuid, Stored)> {
        let now = self.now();
        let reorder = self.strikes(Fault::Reorder);
        let queue = match which {
            Which::Outbound => &mut self.outbound,
            Which::Inbound => &mut self.inbound,
        };
        let (token, stored) = queue.take(&mut self.dice, reorder, now)?;
        self.figures.redeliveries += u64::from(stored.failed > 0);
        let world = Arc::clone(world);
        tokio::spawn(async move {
            loop {
                let Some(until) = world.lock().queue(which).until(token) else {
                    return;
                };
                let left = until - world.clock.now();
                if left.is_positive() {
                    sleep(left.unsigned_abs()).await;
                } else {
                    world
                        .lock()
                        .give_back(&world, which, token, "its lock expired");
                    return;
                }
            }
        });
        Some((token, stored))
    }

    /// Ends a lock without a settlement.
    pub(crate) fn give_back(&mut self, world: &Arc<World>, which: Which, token: Uuid, why: &str) {
        let now = self.now();
        let (returned, about) = self.queue(which).give_back(token, now);
        let (name, row) = (self.queue(which).name, self.row_of(which, about));
        match returned {
            Returned::NotLocked => {}
            Returned::Active => {
                let what = self.describe(which, about);
                self.note(row, format!("{name} queue takes {what} back: {why}"));
                world.stirred.notify_waiters();
            }
            Returned::WornOut => {
                self.figures.dead += 1;
                self.figures.worn_out += 1;
                let what = self.describe(which, about);
                self.note(
                    row,
                    format!("{name} queue dead-letters {what}: delivered too often"),
                );
            }
        }
    }

    /// Completes a message; false when the lock was lost.
    pub(crate) fn complete(&mut self, which: Which, token: Uuid) -> bool {
        let Some(stored) = self.queue(which).remove(token) else {
            return false;
        };
        let row = self.row_of(which, stored.about);
        let what = self.describe(which, stored.about);
        let name = self.queue(which).name;
        self.note(
            row,
            format!("{name} queue: {what} ({}) is completed", stored.message_id),
        );
        self.check_completed(which, &stored);
        true
    }

    /// Moves a message to the dead-letter queue; false when the lock was lost.
    pub(crate) fn dead_letter(
        &mut self,
        which: Which,
        token: Uuid,
        reason: String,
        description: String,
        properties: service_bus::Properties,
    ) -> bool {
        let now = self.now();
        let Some(stored) = self.queue(which).remove(token) else {
            return false;
        };
        self.figures.dead += 1;
        let row = self.row_of(which, stored.about);
        let what = self.describe(which, stored.about);
        let name = self.queue(which).name;
        self.note(
            row,
            format!("{name} queue: {what} is dead-lettered, {reason}: {description}"),
        );
        self.check_given_up(which, stored.about, &reason);
        self.queue(which)
            .bury(stored, reason, description, properties, now);
        true
    }
}
