//! What the web layer, the handle and the asynchronous step share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::faults::{DataverseFaults, Fault, PostFault, Throttle};
use super::journal::{Journal, RequestCounts, RequestKind};
use super::posting::Posting;
use super::protection::{Costs, Protection};
use super::schema::Schema;
use super::script::{Script, Scripts};
use super::steps::{ListedStep, Steps};
use super::store::Store;
use super::telemetry::PlugInTelemetry;
use super::transaction::Effects;
use super::users::Users;
use super::web::Side;
use crate::dice::Dice;
use crate::identity::TokenKey;

/// A running environment.
#[derive(Debug)]
pub(super) struct State {
    /// Base URL, which is also the audience of tokens.
    pub(super) url: String,
    pub(super) tenant: Uuid,
    pub(super) schema: Arc<Schema>,
    pub(super) steps: Steps,
    /// Verifies tokens; without it everybody is let in.
    pub(super) auth: Option<TokenKey>,
    /// What operations cost in execution time.
    pub(super) costs: Costs,
    /// How long a delta token is answered.
    pub(super) delta_lifetime: Duration,
    /// How long the sweep leaves an outbox row alone after a failed post.
    pub(super) retry_wait: Duration,
    /// Queue of the asynchronous step; `None` when nobody posts.
    pub(super) jobs: Option<UnboundedSender<Posting>>,
    /// Where the plug-in tells of what it did; `None` when nobody listens.
    pub(super) telemetry: Option<PlugInTelemetry>,
    pub(super) open_jobs: AtomicUsize,
    pub(super) job_finished: Notify,
    pub(super) inner: Mutex<Inner>,
    /// What is looked at while the rows are in use.
    pub(super) users: Mutex<Users>,
    /// Listed beside those that are played.
    pub(super) further_steps: Mutex<Vec<ListedStep>>,
    /// Apart from the rows: limits are looked at before anything else, and by everybody.
    pub(super) protection: Mutex<Protection>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) journal: Journal,
    pub(super) faults: DataverseFaults,
    pub(super) dice: Dice,
    pub(super) scripts: Scripts,
}

impl State {
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn further_steps(&self) -> MutexGuard<'_, Vec<ListedStep>> {
        self.further_steps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn protection(&self) -> MutexGuard<'_, Protection> {
        self.protection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a transaction did, and starts the asynchronous step for it.
    pub(super) fn committed(&self, journal: &mut Journal, mut effects: Effects) {
        journal.record(&mut effects);
        let Some(jobs) = &self.jobs else {
            return;
        };
        for posting in effects.postings {
            self.open_jobs.fetch_add(1, Ordering::SeqCst);
            if jobs.send(posting).is_err() {
                // The stand-in is shutting down; the row stays in the outbox.
                self.job_done();
            }
        }
    }

    pub(super) fn job_done(&self) {
        self.open_jobs.fetch_sub(1, Ordering::SeqCst);
        self.job_finished.notify_waiters();
    }
}

impl Inner {
    pub(super) fn set_faults(&mut self, faults: DataverseFaults) {
        self.dice = Dice::new(faults.seed);
        self.faults = faults;
    }

    pub(super) fn draw(&mut self, side: Side) -> Fault {
        match side {
            Side::User => Fault::None,
            Side::Integration => self.faults.draw(&mut self.dice),
        }
    }

    /// The script for this request, if there is one.
    pub(super) fn scripted(
        &mut self,
        side: Side,
        method: &str,
        url: &str,
        in_batch: bool,
    ) -> Option<Script> {
        match side {
            Side::User => None,
            Side::Integration => self.scripts.take(method, url, in_batch),
        }
    }

    pub(super) fn draw_part(&mut self) -> Option<Throttle> {
        self.faults.draw_part(&mut self.dice)
    }

    pub(super) fn draw_post_fault(&mut self) -> PostFault {
        self.faults.draw_post(&mut self.dice)
    }

    fn counts(&mut self, side: Side) -> &mut RequestCounts {
        match side {
            Side::User => &mut self.journal.counters.users,
            Side::Integration => &mut self.journal.counters.integration,
        }
    }

    pub(super) fn count(&mut self, side: Side, kind: RequestKind, faulted: bool) {
        let counts = self.counts(side);
        *counts.by_kind.entry(kind).or_default() += 1;
        counts.faulted += u64::from(faulted);
    }

    pub(super) fn count_batch_operations(&mut self, side: Side, operations: usize) {
        self.counts(side).batch_operations += operations as u64;
    }
}
