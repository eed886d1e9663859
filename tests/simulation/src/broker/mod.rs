//! One queue of the broker: peek-lock, schedule, duplicate detection, dead-letter queue.
//!
//! This file is the state machine; [`port`] is the network in front of it, [`delivery`] the receiving
//! side and its timers.

mod delivery;
mod port;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use service_bus::{OutgoingMessage, Properties};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::dice::Dice;

pub(crate) use port::SimQueue;

/// How long a lock lasts unless it is renewed.
pub(crate) const LOCK: Duration = Duration::from_secs(30);
/// A message that failed this often is dead-lettered by the broker.
const MAX_DELIVERY_COUNT: u32 = 10;
/// The reason the broker gives then.
pub(crate) const WORN_OUT: &str = "MaxDeliveryCountExceeded";

/// A message in the queue.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) message_id: String,
    pub(crate) correlation_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) properties: Properties,
    pub(crate) enqueued: OffsetDateTime,
    /// Deliveries that ended in an abandon or a lost lock.
    pub(crate) failed: u32,
    /// What the ledger knows it by.
    pub(crate) about: Option<usize>,
}

#[derive(Debug)]
struct Locked {
    stored: Stored,
    until: OffsetDateTime,
}

/// A message in the dead-letter queue.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) stored: Stored,
    pub(crate) reason: String,
    pub(crate) description: String,
    pub(crate) properties: Properties,
    pub(crate) at: OffsetDateTime,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    Active,
    Scheduled {
        sequence: u64,
        at: OffsetDateTime,
    },
    /// Accepted and dropped: the id was seen within the window.
    Folded,
}

/// What became of a message whose lock ended without a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    Active,
    WornOut,
    /// The lock was not held.
    NotLocked,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct BrokerQueue {
    pub(crate) name: &'static str,
    next: u64,
    active: BTreeMap<u64, Stored>,
    scheduled: BTreeMap<u64, Stored>,
    locked: BTreeMap<Uuid, Locked>,
    pub(crate) dead: Vec<Dead>,
    window: Option<Duration>,
    /// When an id was last accepted.
    seen: BTreeMap<String, OffsetDateTime>,
}

impl BrokerQueue {
    pub(crate) fn new(name: &'static str, window: Option<Duration>) -> Self {
        Self {
            name,
            next: 1,
            active: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            locked: BTreeMap::new(),
            dead: Vec::new(),
            window,
            seen: BTreeMap::new(),
        }
    }

    fn accept(
        &mut self,
        message: OutgoingMessage,
        about: Option<usize>,
        now: OffsetDateTime,
    ) -> Accepted {
        let message_id = message.message_id.unwrap_or_default();
        if let Some(window) = self.window {
            let seen = self.seen.insert(message_id.clone(), now);
            if seen.is_some_and(|at| now - at < window) {
                return Accepted::Folded;
            }
        }
        let sequence = self.next;
        self.next += 1;
        let at = message.scheduled_enqueue_time.filter(|at| *at > now);
        let stored = Stored {
            sequence,
            message_id,
            correlation_id: message.correlation_id,
            session_id: message.session_id,
            content_type: message.content_type,
            subject: message.subject,
            body: message.body,
            properties: message.properties,
            enqueued: at.unwrap_or(now),
            failed: 0,
            about,
        };
        match at {
            Some(at) => {
                self.scheduled.insert(sequence, stored);
                Accepted::Scheduled { sequence, at }
            }
            None => {
                self.active.insert(sequence, stored);
                Accepted::Active
            }
        }
    }

    /// A scheduled message's time has come.
    fn enqueue(&mut self, sequence: u64) {
        if let Some(stored) = self.scheduled.remove(&sequence) {
            self.active.insert(sequence, stored);
        }
    }

    /// Locks the next message, or one a little further back.
    fn take(
        &mut self,
        dice: &mut Dice,
        reorder: bool,
        now: OffsetDateTime,
    ) -> Option<(Uuid, Stored)> {
        let skip = if reorder {
            dice.index(self.active.len().min(20))
        } else {
            0
        };
        let sequence = *self.active.keys().nth(skip)?;
        let stored = self.active.remove(&sequence)?;
        let token = dice.uuid();
        let until = now + LOCK;
        self.locked.insert(
            token,
            Locked {
                stored: stored.clone(),
                until,
            },
        );
        Some((token, stored))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.scheduled.is_empty() && self.locked.is_empty()
    }

    /// How many messages wait, are scheduled, and are locked.
    pub(crate) fn backlog(&self) -> (usize, usize, usize) {
        (self.active.len(), self.scheduled.len(), self.locked.len())
    }

    pub(crate) fn holds(&self, token: Uuid) -> bool {
        self.locked.contains_key(&token)
    }

    /// When a lock ends.
    fn until(&self, token: Uuid) -> Option<OffsetDateTime> {
        self.locked.get(&token).map(|l| l.until)
    }

    pub(crate) fn renew(&mut self, token: Uuid, now: OffsetDateTime) -> bool {
        let locked = self.locked.get_mut(&token);
        locked.map(|l| l.until = now + LOCK).is_some()
    }

    /// Settles a message for good; `None` when its lock is lost.
    fn remove(&mut self, token: Uuid) -> Option<Stored> {
        self.locked.remove(&token).map(|l| l.stored)
    }

    /// A delivery failed: the message goes back to its place.
    fn give_back(&mut self, token: Uuid, now: OffsetDateTime) -> (Returned, Option<usize>) {
        let Some(mut stored) = self.remove(token) else {
            return (Returned::NotLocked, None);
        };
        stored.failed += 1;
        let about = stored.about;
        if stored.failed >= MAX_DELIVERY_COUNT {
            let description = format!(
                "Message could not be consumed after {MAX_DELIVERY_COUNT} delivery attempts."
            );
            self.bury(stored, WORN_OUT.into(), description, Properties::new(), now);
            return (Returned::WornOut, about);
        }
        self.active.insert(stored.sequence, stored);
        (Returned::Active, about)
    }

    fn bury(
        &mut self,
        stored: Stored,
        reason: String,
        description: String,
        properties: Properties,
        at: OffsetDateTime,
    ) {
        self.dead.push(Dead {
            stored,
            reason,
            description,
            properties,
            at,
        });
    }

    /// Every message in the queue, in whatever state.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Stored> {
        let stored = self.active.values().chain(self.scheduled.values());
        stored.chain(self.locked.values().map(|l| &l.stored))
    }

    /// Whether a message about this is in the queue.
    pub(crate) fn has(&self, about: usize) -> bool {
        self.stored().any(|s| s.about == Some(about))
    }

    pub(crate) fn has_dead(&self, about: usize) -> bool {
        self.dead.iter().any(|d| d.stored.about == Some(about))
    }
}
