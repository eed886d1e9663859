//! The beat that all gatherers of a client share, and how they hear it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::plan::Beat;

/// Whoever may start a page when another one has ended.
pub(super) trait Member: Send + Sync {
    /// Starts the pages that are due.
    fn beat(self: Arc<Self>);
}

#[derive(Clone, Default)]
pub(super) struct Rhythm(Arc<Inner>);

#[derive(Default)]
struct Inner {
    beat: Mutex<Beat>,
    members: Mutex<Vec<Weak<dyn Member>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rhythm {
    pub(super) fn join(&self, member: Weak<dyn Member>) {
        lock(&self.0.members).push(member);
    }

    pub(super) fn now(&self) -> MutexGuard<'_, Beat> {
        lock(&self.0.beat)
    }

    /// A page that carried `rows` has ended; whoever gathered meanwhile may start one.
    pub(super) fn end(&self, rows: usize) {
        self.now().end(rows, Instant::now());
        let members: Vec<_> = lock(&self.0.members)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for member in members {
            member.beat();
        }
    }
}
