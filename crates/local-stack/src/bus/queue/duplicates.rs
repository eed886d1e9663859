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
    /// What was noted and forgotten since somebody asked; `None` while nobody does.
    changes: Option<Vec<Noted>>,
}

/// An id, and until when it is known; `None` when it is forgotten.
pub(super) type Noted = (Arc<str>, Option<OffsetDateTime>);

impl Duplicates {
    pub(crate) fn new(window: Duration) -> Self {
        Duplicates {
            window,
            known: HashSet::new(),
            order: VecDeque::new(),
            changes: None,
        }
    }

    /// Notes an id; true if it was known. A repetition does not lengthen its memory.
    pub(crate) fn is_repeated(&mut self, id: &Arc<str>, now: OffsetDateTime) -> bool {
        self.forget(now);
        if !self.known.insert(Arc::clone(id)) {
            return true;
        }
        let until = now + self.window;
        self.order.push_back((until, Arc::clone(id)));
        if let Some(changes) = &mut self.changes {
            changes.push((Arc::clone(id), Some(until)));
        }
        false
    }

    /// Drops the ids whose time has passed.
    pub(crate) fn forget(&mut self, now: OffsetDateTime) {
        while let Some((until, id)) = self.order.front()
            && *until <= now
        {
            self.known.remove(id);
            if let Some(changes) = &mut self.changes {
                changes.push((Arc::clone(id), None));
            }
            self.order.pop_front();
        }
    }

    /// Takes back what it knew before.
    pub(super) fn restore(&mut self, mut known: Vec<(Arc<str>, OffsetDateTime)>) {
        known.sort_by_key(|(_, until)| *until);
        for (id, until) in known {
            self.known.insert(Arc::clone(&id));
            self.order.push_back((until, id));
        }
    }

    /// Has [`Duplicates::take_changes`] tell of every change from now on.
    pub(super) fn record(&mut self) {
        self.changes = Some(Vec::new());
    }

    pub(super) fn take_changes(&mut self) -> Vec<Noted> {
        self.changes
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }
}
