//! The broker's core: one queue with its dead-letter queue, as a state machine.
//!
//! Nothing here does I/O or looks at a clock: every operation is told the time, and lock tokens and
//! message ids come from the caller. Operations that time alone causes (a lock runs out, a schedule
//! comes due, a message expires) happen in [`Queue::advance`], which every other operation calls
//! first; [`Queue::next_deadline`] says when it is worth calling without any other cause.
//!
//! A topic is one of these too: everything that is ready in it leaves at once ([`departures`]). An
//! entity with sessions has a second index in [`store`]: [`sessions`].

pub(crate) mod changes;
pub(crate) mod departures;
pub(crate) mod duplicates;
pub(crate) mod entry;
mod forced;
pub(crate) mod message;
mod quota;
mod requests;
pub(crate) mod session_requests;
pub(crate) mod sessions;
pub(crate) mod settle;
mod store;
mod transitions;
pub(crate) mod waiters;

#[cfg(test)]
mod tests;

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use self::departures::Onward;
use self::duplicates::Duplicates;
use self::entry::{Entry, Lock, State};
use self::message::Message;
use self::store::Store;
use self::waiters::ConsumerId;
use super::config::QueueConfig;
use super::view::{Counters, QueueCounts};

pub(crate) use self::quota::QueueFull;
pub(crate) use self::requests::NoSuchMessage;
pub(super) use self::transitions::{DESCRIPTION, REASON};

/// The reason for messages without a session that a topic passes to a subscription with sessions, as
/// users of the service report it.
const SESSION_MISSING: &str = "Session id is null.";

/// The queue itself, or the dead-letter queue beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SubQueue {
    Main,
    DeadLetter,
}

/// One queue and its dead-letter queue.
#[derive(Debug)]
pub(crate) struct Queue {
    config: QueueConfig,
    main: Store,
    dead: Store,
    /// Shared by both, so that a message keeps its number when it is dead-lettered.
    last_sequence: i64,
    /// The number that was last told of; `None` while nobody keeps what changes.
    told_sequence: Option<i64>,
    duplicates: Option<Duplicates>,
    onward: Onward,
    pub(crate) counters: Counters,
}

impl Queue {
    pub(crate) fn new(config: QueueConfig) -> Self {
        Queue {
            duplicates: config.duplicate_detection_window.map(Duplicates::new),
            onward: match config.forward_to {
                Some(_) => Onward::Forward,
                None => Onward::Stay,
            },
            main: Store::new(config.requires_session),
            config,
            dead: Store::default(),
            last_sequence: 0,
            told_sequence: None,
            counters: Counters::default(),
        }
    }

    /// The queue through which a topic's messages pass.
    pub(crate) fn of_topic(config: QueueConfig) -> Self {
        Queue {
            onward: Onward::FanOut,
            ..Queue::new(config)
        }
    }

    /// Lets everything happen that time has caused by `now`, in the order in which it was due.
    pub(crate) fn advance(&mut self, now: OffsetDateTime) {
        // First, so that no message's lock seems to run out for itself.
        while let Some((session, holder)) = self.main.expired_session(now) {
            self.expire_session(&session, holder);
        }
        for sub in [SubQueue::Main, SubQueue::DeadLetter] {
            while let Some(sequence) = self.store(sub).due(now) {
                self.fire(sub, sequence, now);
            }
        }
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.forget(now);
        }
    }

    /// The next moment at which [`Queue::advance`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<OffsetDateTime> {
        [self.main.next_timer(), self.dead.next_timer()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Accepts a message: receivable now, or at the time it is scheduled for. Returns its sequence
    /// number, or `None` for a duplicate, which is accepted and dropped.
    pub(crate) fn enqueue(&mut self, message: Message, now: OffsetDateTime) -> Option<i64> {
        self.advance(now);
        self.counters.sent += 1;
        if let Some(duplicates) = &mut self.duplicates
            && duplicates.is_repeated(&message.id, now)
        {
            self.counters.duplicates_dropped += 1;
            return None;
        }
        let has_session = message.session.is_some();
        let sequence = self.next_sequence();
        let due_at = message.scheduled_for.filter(|due| *due > now);
        self.counters.scheduled += u64::from(due_at.is_some());
        let expires_at = match due_at {
            // The time to live counts from when the message becomes receivable.
            Some(_) => None,
            None => self.expiry(&message, now),
        };
        self.main.insert(Entry {
            sequence,
            enqueued_sequence: message.journey.origin.unwrap_or(sequence),
            message,
            enqueued_at: due_at.unwrap_or(now),
            delivery_count: 0,
            state: if due_at.is_some() {
                State::Scheduled
            } else {
                State::Active
            },
            lock: None,
            due_at,
            expires_at,
        });
        if self.config.requires_session && !has_session {
            // Only for what no sender can be told any more: it came by way of a topic.
            self.bury(sequence, &transitions::reasons(Some(SESSION_MISSING), None));
        }
        // A time to live of nothing at all.
        self.advance(now);
        Some(sequence)
    }

    /// Locks the oldest ready message under `token`.
    pub(crate) fn lock_next(
        &mut self,
        sub: SubQueue,
        token: Uuid,
        now: OffsetDateTime,
    ) -> Option<Entry> {
        self.advance(now);
        let sequence = self.store(sub).first_ready()?;
        self.lock(sub, sequence, token, now + self.config.lock_duration)
    }

    /// Takes the oldest ready message away for good (receive-and-delete).
    pub(crate) fn take_next(&mut self, sub: SubQueue, now: OffsetDateTime) -> Option<Entry> {
        self.advance(now);
        let sequence = self.store(sub).first_ready()?;
        self.counters.received_and_deleted += 1;
        self.store_mut(sub).remove(sequence)
    }

    /// Remembers a receiver that has credit and found nothing.
    pub(crate) fn wait(&mut self, sub: SubQueue, consumer: ConsumerId) {
        self.store_mut(sub).wait(consumer);
    }

    /// Forgets a receiver that has no more credit, or is gone.
    pub(crate) fn leave(&mut self, sub: SubQueue, consumer: ConsumerId) {
        self.store_mut(sub).leave(consumer);
    }

    /// The receivers to wake for what has become ready since the last call.
    pub(crate) fn take_woken(&mut self) -> Vec<ConsumerId> {
        let mut woken = self.main.take_woken();
        woken.extend(self.dead.take_woken());
        woken
    }

    /// How many messages are where.
    pub(crate) fn counts(&self) -> QueueCounts {
        QueueCounts {
            active: self.main.ready_count(),
            locked: self.main.locked_count(),
            scheduled: self.main.scheduled_count(),
            deferred: self.main.deferred_count(),
            dead_letter: self.dead.len(),
        }
    }

    /// All messages of the queue or its dead-letter queue, by sequence number.
    pub(crate) fn entries(&self, sub: SubQueue) -> impl Iterator<Item = &Entry> {
        self.store(sub).from(i64::MIN)
    }

    // === internals ===

    fn store(&self, sub: SubQueue) -> &Store {
        match sub {
            SubQueue::Main => &self.main,
            SubQueue::DeadLetter => &self.dead,
        }
    }

    fn store_mut(&mut self, sub: SubQueue) -> &mut Store {
        match sub {
            SubQueue::Main => &mut self.main,
            SubQueue::DeadLetter => &mut self.dead,
        }
    }

    fn next_sequence(&mut self) -> i64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    fn expiry(&self, message: &Message, now: OffsetDateTime) -> Option<OffsetDateTime> {
        if self.onward != Onward::Stay {
            // It is only passing; where it stays its time to live counts.
            return None;
        }
        let ttl = match (message.ttl, self.config.default_ttl) {
            (Some(own), Some(default)) => own.min(default),
            (own, default) => own.or(default)?,
        };
        now.checked_add(time::Duration::try_from(ttl).ok()?)
    }

    fn lock(
        &mut self,
        sub: SubQueue,
        sequence: i64,
        token: Uuid,
        until: OffsetDateTime,
    ) -> Option<Entry> {
        let lock = Lock { token, until };
        self.store_mut(sub).update(sequence, |entry| {
            entry.lock = Some(lock);
            entry.clone()
        })
    }
}

/// The longest lock the service grants (Azure doc "Message transfers, locks, and settlement").
pub(crate) const MAX_LOCK_DURATION: Duration = Duration::from_secs(300);
