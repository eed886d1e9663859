//! What a test does to a queue that no client can.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Queue, SubQueue};

impl Queue {
    /// Ends a lock as if its time had run out; whether there was one.
    pub(crate) fn lose_lock(&mut self, sub: SubQueue, token: Uuid, now: OffsetDateTime) -> bool {
        self.advance(now);
        let Some(sequence) = self.store(sub).locked(token) else {
            return false;
        };
        self.counters.lock_expiries += 1;
        self.give_back(sub, sequence, &[]);
        self.advance(now);
        true
    }

    /// Ends all locks, those in the dead-letter queue included; how many there were.
    pub(crate) fn lose_locks(&mut self, now: OffsetDateTime) -> usize {
        self.advance(now);
        let mut lost = 0;
        for sub in [SubQueue::Main, SubQueue::DeadLetter] {
            let tokens: Vec<Uuid> = self
                .entries(sub)
                .filter_map(|entry| entry.lock.map(|lock| lock.token))
                .collect();
            for token in tokens {
                lost += usize::from(self.lose_lock(sub, token, now));
            }
        }
        lost
    }
}
