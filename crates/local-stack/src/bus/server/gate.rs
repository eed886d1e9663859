//! Holds a connection's bytes back until everything that happened before them is on disk.
//!
//! One rule for all: confirmations of sends and settlements, answers to requests, and deliveries. A
//! client never hears of something that a crash could take back. It may wait for changes that have
//! nothing to do with it; they are written together anyway.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::bus::durable::{Journal, Progress};

/// The gate of one connection. Of a broker without a data directory it is always open.
pub(super) struct Gate {
    journal: Option<(Arc<Journal>, watch::Receiver<Progress>)>,
    /// Bytes that may go.
    free: usize,
    /// Bytes behind those, in order.
    held: VecDeque<Held>,
    is_broken: bool,
}

struct Held {
    bytes: usize,
    /// Where the disk must have got to.
    until: u64,
}

impl Gate {
    pub(super) fn new(journal: Option<&Arc<Journal>>) -> Self {
        Gate {
            journal: journal.map(|journal| (Arc::clone(journal), journal.progress())),
            free: 0,
            held: VecDeque::new(),
            is_broken: false,
        }
    }

    /// Takes in that there are `len` bytes for the client now, those added since the last time being
    /// about what has happened until now; and looks how far the disk is.
    pub(super) fn note(&mut self, len: usize) {
        let Some((journal, progress)) = &mut self.journal else {
            self.free = len;
            return;
        };
        let known = self.free + self.held.iter().map(|held| held.bytes).sum::<usize>();
        let fresh = len.saturating_sub(known);
        if fresh > 0 {
            let until = journal.position();
            match self.held.back_mut() {
                Some(last) if last.until == until => last.bytes += fresh,
                _ => self.held.push_back(Held {
                    bytes: fresh,
                    until,
                }),
            }
        }
        let progress = *progress.borrow_and_update();
        self.is_broken = progress.is_broken;
        while let Some(held) = self
            .held
            .pop_front_if(|held| held.until <= progress.durable)
        {
            self.free += held.bytes;
        }
    }

    /// How many bytes may go.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Takes in that so many of them are gone.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.free -= bytes;
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the disk has failed, so that the rest must never go.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Waits until the disk has got further, or has failed.
    pub(super) async fn moves(&mut self) {
        let Some((_, progress)) = &mut self.journal else {
            return std::future::pending().await;
        };
        let changed = progress.changed().await;
        self.is_broken |= changed.is_err();
    }

    /// Waits until all of the `len` bytes may go; how many of them may if the disk fails.
    pub(super) async fn opens(&mut self, len: usize) -> usize {
        self.note(len);
        while self.is_holding() && !self.is_broken {
            self.moves().await;
            self.note(len);
        }
        self.free
    }
}
