//! Duplicate detection: the message ids a queue has accepted within its window.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

/// Remembers each message id for the window's length after it was first accepted.
#[derive(Debug)]
pub(crate) struct Duplicates {
    window: Duration,
    known: HashSet<Arc<str>>,
    /// In order of acceptance, hence of being forgotten.
    order: VecDeque<(OffsetDateTime, Arc<str>)>,
}

impl Duplicates {
    pub(crate) fn new(window: Duration) -> Self {
        Duplicates {
            window,
            known: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Notes an id; true if it was known. A repetition does not lengthen its memory.
    pub(crate) fn is_repeated(&mut self, id: &Arc<str>, now: OffsetDateTime) -> bool {
        self.forget(now);
        if !self.known.insert(Arc::clone(id)) {
            return true;
        }
        self.order.push_back((now + self.window, Arc::clone(id)));
        false
    }

    /// Drops the ids whose time has passed.
    pub(crate) fn forget(&mut self, now: OffsetDateTime) {
        while let Some((until, id)) = self.order.front()
            && *until <= now
        {
            self.known.remove(id);
            self.order.pop_front();
        }
    }
}
