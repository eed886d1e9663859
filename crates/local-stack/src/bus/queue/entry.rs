//! A message's place in a queue: its numbers, its state, its lock.

use time::OffsetDateTime;
use uuid::Uuid;

use super::message::Message;

/// What `x-opt-message-state` says. A lock is a separate matter: deferred messages are locked too
/// while somebody works on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Deferred,
    Scheduled,
}

impl State {
    /// The number on the wire (azure-servicebus for Python, `ServiceBusMessageState`).
    pub(crate) fn number(self) -> i32 {
        match self {
            State::Active => 0,
            State::Deferred => 1,
            State::Scheduled => 2,
        }
    }
}

/// A peek-lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) token: Uuid,
    pub(crate) until: OffsetDateTime,
}

/// One message in a queue or its dead-letter queue. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    pub(crate) sequence: i64,
    /// The number it had when it was first accepted; differs after a schedule came due.
    pub(crate) enqueued_sequence: i64,
    pub(crate) enqueued_at: OffsetDateTime,
    /// Earlier deliveries that failed; 0 until the first one has.
    pub(crate) delivery_count: u32,
    pub(crate) state: State,
    pub(crate) lock: Option<Lock>,
    /// When it becomes receivable; set while scheduled.
    pub(crate) due_at: Option<OffsetDateTime>,
    pub(crate) expires_at: Option<OffsetDateTime>,
}

impl Entry {
    /// The moment at which time changes this message, if nothing else does before: the schedule
    /// comes due, the lock runs out, or the message expires. A locked message does not expire.
    pub(crate) fn timer(&self) -> Option<OffsetDateTime> {
        match (self.state, self.lock) {
            (State::Scheduled, _) => self.due_at,
            (_, Some(lock)) => Some(lock.until),
            (_, None) => self.expires_at,
        }
    }

    /// Whether a change made nothing different that outlives a restart. Of a message itself only the
    /// application properties ever change while it is in a queue.
    pub(crate) fn is_kept_as(&self, other: &Entry) -> bool {
        self.state == other.state
            && self.delivery_count == other.delivery_count
            && self.due_at == other.due_at
            && self.expires_at == other.expires_at
            && self.message.application_properties == other.message.application_properties
    }

    /// Whether the next receiver may have it.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Active && self.lock.is_none()
    }
}
