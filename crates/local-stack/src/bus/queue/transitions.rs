//! How a message moves on by itself or because a delivery failed: expired locks, schedules that come
//! due, times to live, and the way into the dead-letter queue.

use serde_amqp::Value;
use time::OffsetDateTime;

use super::entry::State;
use super::{Queue, SubQueue};

/// The reason for messages that failed too often (Azure doc "Overview of Service Bus dead-letter
/// queues").
const MAX_DELIVERY_COUNT_EXCEEDED: &str = "MaxDeliveryCountExceeded";
/// The reason for messages whose time to live ran out (same source).
const TTL_EXPIRED: &str = "TTLExpiredException";
pub(in crate::bus) const REASON: &str = "DeadLetterReason";
pub(in crate::bus) const DESCRIPTION: &str = "DeadLetterErrorDescription";

impl Queue {
    /// Does what a message's timer was set for.
    pub(super) fn fire(&mut self, sub: SubQueue, sequence: i64, now: OffsetDateTime) {
        let Some(entry) = self.store(sub).get(sequence) else {
            return;
        };
        if entry.lock.is_some() {
            self.counters.lock_expiries += 1;
            self.give_back(sub, sequence, &[]);
        } else if entry.state == State::Scheduled {
            self.activate(sequence, now);
        } else {
            self.expire(sequence);
        }
    }

    /// A schedule came due: the message goes to the end of the queue under a new number
    /// (Azure doc "Message sequencing and timestamps").
    fn activate(&mut self, sequence: i64, now: OffsetDateTime) {
        let Some(mut entry) = self.main.remove(sequence) else {
            return;
        };
        entry.sequence = self.next_sequence();
        entry.state = State::Active;
        entry.enqueued_at = entry.due_at.take().unwrap_or(now);
        entry.expires_at = self.expiry(&entry.message, entry.enqueued_at);
        self.main.insert(entry);
    }

    fn expire(&mut self, sequence: i64) {
        self.counters.ttl_expiries += 1;
        if self.config.dead_letter_on_expiration {
            let why = "The message expired and was dead lettered.";
            self.bury(sequence, &reasons(Some(TTL_EXPIRED), Some(why)));
        } else {
            self.main.remove(sequence);
        }
    }

    /// A delivery failed: the message is receivable again, or dead-lettered if it failed too often.
    pub(super) fn give_back(&mut self, sub: SubQueue, sequence: i64, changes: &[(String, Value)]) {
        let failed = self.store_mut(sub).update(sequence, |entry| {
            entry.lock = None;
            entry.delivery_count += 1;
            entry.message.set_application_properties(changes);
            entry.delivery_count
        });
        let limit = self.config.max_delivery_count;
        if sub == SubQueue::Main && failed.is_some_and(|failed| failed >= limit) {
            let why = format!("Message could not be consumed after {limit} delivery attempts.");
            self.bury(
                sequence,
                &reasons(Some(MAX_DELIVERY_COUNT_EXCEEDED), Some(&why)),
            );
        }
    }

    /// Moves a message to the dead-letter queue, where neither locks nor time to live follow it.
    pub(super) fn bury(&mut self, sequence: i64, changes: &[(String, Value)]) {
        let Some(mut entry) = self.main.remove(sequence) else {
            return;
        };
        self.counters.dead_lettered += 1;
        entry.lock = None;
        entry.state = State::Active;
        entry.expires_at = None;
        entry.message.set_application_properties(changes);
        self.dead.insert(entry);
    }
}

/// The application properties in which a dead-lettered message carries its reason.
pub(super) fn reasons(reason: Option<&str>, description: Option<&str>) -> Vec<(String, Value)> {
    [(REASON, reason), (DESCRIPTION, description)]
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?.to_owned()))))
        .collect()
}
