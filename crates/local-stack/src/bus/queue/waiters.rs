//! Receivers with credit that found nothing to receive, in order of arrival.

use std::collections::{BTreeMap, HashMap};

/// A receiver, as its connection calls it. Unique within a broker.
pub(crate) type ConsumerId = u64;

/// Waiting receivers. Each message that becomes ready wakes one of them, the longest waiting one,
/// so a crowd of idle receivers costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_arrival: BTreeMap<u64, ConsumerId>,
    arrivals: HashMap<ConsumerId, u64>,
    next: u64,
}

impl Waiters {
    /// Puts a receiver at the end of the line, unless it is in it already.
    pub(crate) fn add(&mut self, consumer: ConsumerId) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.arrivals.entry(consumer) {
            place.insert(self.next);
            self.by_arrival.insert(self.next, consumer);
            self.next += 1;
        }
    }

    pub(crate) fn remove(&mut self, consumer: ConsumerId) {
        if let Some(arrival) = self.arrivals.remove(&consumer) {
            self.by_arrival.remove(&arrival);
        }
    }

    /// Takes up to `count` receivers off the head of the line.
    pub(crate) fn take(&mut self, count: usize) -> Vec<ConsumerId> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some((_, consumer)) = self.by_arrival.pop_first() else {
                break;
            };
            self.arrivals.remove(&consumer);
            taken.push(consumer);
        }
        taken
    }
}
