//! What has changed and is not on disk yet, and how far the disk has got.
//!
//! Entities append what has changed, each under its own lock; one thread takes everything that has
//! come together meanwhile and commits it at once, so that many sends share one write to the disk.
//! It takes it at a moment when no operation is half done: each operation is a [`Unit`], from its
//! first change until the last message it sent on its way has arrived. So a commit holds a message
//! that travels from a topic to its subscriptions either there or here, never nowhere.
//!
//! Nobody waits here. Whoever tells a client of something holds the bytes back until the disk has
//! got to the [`Journal::position`] at which they were written (`server::gate`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::DataError;
use crate::bus::queue::changes::Change;

/// Something of an entity to be kept.
#[derive(Debug)]
pub(crate) enum Item {
    Change(Change),
    /// A subscription's rules, encoded.
    Rules(Vec<u8>),
    /// What kind of entity it is.
    Kind(&'static str),
}

/// What the journal is written to.
pub(crate) trait Disk: Send + 'static {
    /// Makes all of it durable, or nothing. Returns when it is.
    ///
    /// # Errors
    /// When it could not; the disk is not used again.
    fn commit(&mut self, items: Vec<(Arc<str>, Item)>) -> Result<(), DataError>;
}

/// How far the disk has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything up to this position is durable.
    pub(crate) durable: u64,
    /// The disk failed: nothing further will ever be durable.
    pub(crate) is_broken: bool,
}

/// The changes on their way to the disk. What was appended is written even when this is dropped.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// An operation that is not over. While there is one, nothing is taken to the disk.
pub(crate) type Unit<'j> = RwLockReadGuard<'j, ()>;

#[derive(Default)]
struct Shared {
    units: RwLock<()>,
    pending: Mutex<Pending>,
    has_work: Condvar,
    position: AtomicU64,
}

#[derive(Default)]
struct Pending {
    items: Vec<(Arc<str>, Item)>,
    /// Nothing more is taken: the broker stops, or the disk has failed.
    is_over: bool,
}

impl Journal {
    /// Starts the thread that writes to `disk`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(disk: impl Disk) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (tell, progress) = watch::channel(Progress::default());
        let thread = std::thread::Builder::new()
            .name("service-bus-journal".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write_to(disk, &tell)
            })?;
        Ok(Journal {
            shared,
            progress,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Begins an operation. One that holds a unit must not begin another: a commit that waits in
    /// between would wait for ever.
    pub(crate) fn unit(&self) -> Unit<'_> {
        self.shared
            .units
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what has changed in an entity. Called under the entity's lock, so that its changes
    /// keep their order, and within a unit.
    pub(crate) fn append(&self, entity: &Arc<str>, items: impl Iterator<Item = Item>) {
        let mut pending = self.shared.lock();
        if !pending.is_over {
            let items = items.map(|item| (Arc::clone(entity), item));
            pending.items.extend(items);
        }
        // Else it is a position that the disk never gets to.
        self.shared.position.fetch_add(1, Ordering::AcqRel);
        drop(pending);
        self.shared.has_work.notify_one();
    }

    /// Behind everything that was appended up to now.
    pub(crate) fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Acquire)
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Writes what is left and lets go of the disk.
    pub(crate) fn close(&self) {
        self.end();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("The thread that writes the broker's data has panicked");
        }
    }

    fn end(&self) {
        self.shared.lock().is_over = true;
        self.shared.has_work.notify_one();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut disk: impl Disk, tell: &watch::Sender<Progress>) {
        // Told also when the disk panics: clients must not wait for ever.
        let broken = Broken(tell);
        while self.wait() {
            let (items, position) = {
                let _no_unit = self.units.write().unwrap_or_else(PoisonError::into_inner);
                let mut pending = self.lock();
                let items = std::mem::take(&mut pending.items);
                (items, self.position.load(Ordering::Acquire))
            };
            if let Err(error) = disk.commit(items) {
                tracing::error!(error = %error, "The broker stops: its data cannot be written");
                self.lock().is_over = true;
                return;
            }
            tell.send_modify(|progress| progress.durable = position);
        }
        std::mem::forget(broken);
    }

    /// Waits for something to write; false when there will be nothing more.
    fn wait(&self) -> bool {
        let mut pending = self.lock();
        while pending.items.is_empty() && !pending.is_over {
            let woken = self.has_work.wait(pending);
            pending = woken.unwrap_or_else(PoisonError::into_inner);
        }
        !pending.items.is_empty()
    }
}

struct Broken<'t>(&'t watch::Sender<Progress>);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.is_broken = true);
    }
}
