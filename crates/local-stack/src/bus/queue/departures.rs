//! Messages that leave a queue by themselves: through a topic to its subscriptions, or forwarded
//! (Azure doc "Chaining Service Bus entities with autoforwarding").

use std::sync::Arc;

use serde_amqp::Value;
use time::OffsetDateTime;

use super::entry::Entry;
use super::message::Message;
use super::transitions::reasons;
use super::{Queue, SubQueue};
use crate::bus::wire::values;

/// How often a message may be forwarded (Azure doc "Overview of Service Bus dead-letter queues").
const MAX_HOPS: u32 = 4;
/// The reason for messages that would be forwarded once more (same source).
const MAX_HOPS_EXCEEDED: &str = "MaxTransferHopCountExceeded";
/// The reason for messages that their destination has no room for.
const DESTINATION_FULL: &str = "QuotaExceeded";
const DEAD_LETTER_SOURCE: &str = "x-opt-deadletter-source";

/// Where a message has been before this queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Journey {
    /// How often it was forwarded. A topic's copies for its subscriptions do not count.
    pub(crate) hops: u32,
    /// The number it got where it was first sent to; it keeps it as `EnqueuedSequenceNumber`
    /// (Azure doc "Messages, payloads, and serialization").
    pub(crate) origin: Option<i64>,
}

/// A message that has left.
#[derive(Debug)]
pub(crate) struct Departure {
    /// As it travels on.
    pub(crate) message: Message,
    /// Out of the queue itself, or out of its dead-letter queue.
    pub(crate) from: SubQueue,
    /// As it was here.
    pub(crate) entry: Entry,
}

/// What becomes of messages that are ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Onward {
    /// They wait for a receiver.
    #[default]
    Stay,
    Forward,
    /// The queue is a topic's: they are copied to its subscriptions.
    FanOut,
}

impl Queue {
    /// Takes out everything that is ready and not meant to stay, in order.
    pub(crate) fn take_departures(&mut self) -> Vec<Departure> {
        let mut departures = Vec::new();
        if self.onward != Onward::Stay {
            while let Some(sequence) = self.main.first_ready() {
                let is_spent = self
                    .main
                    .get(sequence)
                    .is_some_and(|entry| entry.message.journey.hops >= MAX_HOPS);
                if self.onward == Onward::Forward && is_spent {
                    let why = format!(
                        "The maximum number of allowed hops when forwarding between entities \
                         ({MAX_HOPS}) has been exceeded."
                    );
                    self.bury(sequence, &reasons(Some(MAX_HOPS_EXCEEDED), Some(&why)));
                } else {
                    departures.extend(self.depart(SubQueue::Main, sequence));
                }
            }
        }
        if self.config.forward_dead_letters_to.is_some() {
            // A message that has no hop left stays, or two queues could pass it on for ever.
            let leaving: Vec<i64> = self
                .dead
                .from(i64::MIN)
                .filter(|entry| entry.is_ready() && entry.message.journey.hops < MAX_HOPS)
                .map(|entry| entry.sequence)
                .collect();
            for sequence in leaving {
                departures.extend(self.depart(SubQueue::DeadLetter, sequence));
            }
        }
        departures
    }

    /// Accepts a message straight into the dead-letter queue.
    pub(crate) fn reject(
        &mut self,
        message: Message,
        reason: &str,
        description: &str,
        now: OffsetDateTime,
    ) {
        if let Some(sequence) = self.enqueue(message, now) {
            self.bury(sequence, &reasons(Some(reason), Some(description)));
        }
    }

    /// Takes back a message whose destination is full. It is a dead letter now (Azure doc "Chaining
    /// Service Bus entities with autoforwarding"); one that was a dead letter before stays for good,
    /// or it would be on its way for ever.
    pub(crate) fn take_back(&mut self, from: SubQueue, mut entry: Entry, why: &str) {
        self.counters.forwarded -= 1;
        match from {
            SubQueue::Main => {
                let sequence = entry.sequence;
                self.main.insert(entry);
                self.bury(sequence, &reasons(Some(DESTINATION_FULL), Some(why)));
            }
            SubQueue::DeadLetter => {
                entry.message.journey.hops = MAX_HOPS;
                self.dead.insert(entry);
            }
        }
    }

    fn depart(&mut self, sub: SubQueue, sequence: i64) -> Option<Departure> {
        let entry = self.store_mut(sub).remove(sequence)?;
        self.counters.forwarded += 1;
        let mut message = entry.message.clone();
        message.journey.origin = Some(entry.enqueued_sequence);
        // It is due; the next queue must not look at its clock again.
        message.scheduled_for = None;
        match sub {
            SubQueue::Main => {
                message.ttl = match (message.ttl, self.config.default_ttl) {
                    (Some(own), Some(default)) => Some(own.min(default)),
                    (own, default) => own.or(default),
                };
            }
            SubQueue::DeadLetter => {
                let mut annotations = (*message.annotations).clone();
                annotations.insert(
                    values::symbol(DEAD_LETTER_SOURCE),
                    Value::String(self.config.name.clone()),
                );
                message.annotations = Arc::new(annotations);
            }
        }
        if sub == SubQueue::DeadLetter || self.onward == Onward::Forward {
            message.journey.hops += 1;
        }
        Some(Departure {
            message,
            from: sub,
            entry,
        })
    }
}
