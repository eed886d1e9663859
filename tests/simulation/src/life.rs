//! The life of an instance between two crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::plan::Fault;
use crate::world::World;

/// One life. Every port of an instance carries it, and every call passes its points.
pub(crate) struct Life {
    pub(crate) world: Arc<World>,
    /// Names instance and life, e.g. `out1.3`.
    pub(crate) name: String,
    /// Unique in the run.
    pub(crate) number: usize,
    dead: AtomicBool,
    died: Notify,
}

impl Life {
    pub(crate) fn new(world: &Arc<World>, name: String, number: usize) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            name,
            number,
            dead: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    /// A point where the instance may die: before a request leaves, after an answer came, before a
    /// message is settled. What was sent stays sent; whoever waits here waits until it is dropped.
    pub(crate) async fn point(&self) {
        if !self.is_dead() && self.world.lock().strikes(Fault::Crash) {
            self.kill("at an await");
        }
        if self.is_dead() {
            std::future::pending().await
        }
    }

    /// Ends this life. Idempotent.
    pub(crate) fn kill(&self, why: &str) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            let mut s = self.world.lock();
            s.figures.crashes += 1;
            s.note(None, format!("{} crashes {why}", self.name));
            drop(s);
            self.died.notify_one();
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Waits for the end.
    pub(crate) async fn end(&self) {
        self.died.notified().await;
    }
}
