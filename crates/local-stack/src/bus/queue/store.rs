//! The messages of one queue (or of one dead-letter queue), with every index that keeps an
//! operation from having to scan them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use time::OffsetDateTime;
use uuid::Uuid;

use super::entry::{Entry, State};
use super::sessions::{SessionId, Sessions};
use super::waiters::{ConsumerId, Waiters};

/// Messages by sequence number. All changes go through [`Store::insert`], [`Store::remove`] and
/// [`Store::update`], which keep the indexes true.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: BTreeMap<i64, Entry>,
    ready: BTreeSet<i64>,
    locks: HashMap<Uuid, i64>,
    timers: BTreeSet<(OffsetDateTime, i64)>,
    scheduled: usize,
    /// Deferred and not locked.
    deferred: usize,
    waiters: Waiters,
    /// Messages that became ready and for which no waiting receiver has been woken yet.
    unannounced: usize,
    /// Bytes of all messages.
    size: u64,
    /// Messages of which something changed that is to be kept, and whether each was there before;
    /// `None` while nobody keeps anything.
    touched: Option<BTreeMap<i64, bool>>,
    /// The sessions its messages belong to, if they do.
    pub(super) sessions: Option<Sessions>,
}

impl Store {
    pub(crate) fn new(has_sessions: bool) -> Self {
        Store {
            sessions: has_sessions.then(Sessions::default),
            ..Store::default()
        }
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        self.touch(entry.sequence, false);
        self.put(entry);
    }

    pub(crate) fn remove(&mut self, sequence: i64) -> Option<Entry> {
        let entry = self.take(sequence)?;
        self.touch(sequence, true);
        Some(entry)
    }

    /// Changes a message in place; `None` if there is none of that number.
    pub(crate) fn update<R>(
        &mut self,
        sequence: i64,
        change: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        // Out and in again, so that no index can be forgotten.
        let mut entry = self.take(sequence)?;
        let before = self.touched.is_some().then(|| entry.clone());
        let result = change(&mut entry);
        if before.is_some_and(|before| !before.is_kept_as(&entry)) {
            self.touch(sequence, true);
        }
        self.put(entry);
        Some(result)
    }

    /// Has [`Store::take_touched`] tell of every change from now on.
    pub(crate) fn record(&mut self) {
        self.touched = Some(BTreeMap::new());
    }

    /// The messages that have changed since it was last asked, as they are now; `None` for those
    /// that are gone. One that has come and gone meanwhile is not among them.
    pub(crate) fn take_touched(&mut self) -> Vec<(i64, Option<Entry>)> {
        let touched = self.touched.as_mut().map(std::mem::take);
        let touched = touched.into_iter().flatten();
        touched
            .map(|(sequence, was_there)| (sequence, was_there, self.entries.get(&sequence)))
            .filter(|(_, was_there, entry)| *was_there || entry.is_some())
            .map(|(sequence, _, entry)| (sequence, entry.cloned()))
            .collect()
    }

    pub(crate) fn get(&self, sequence: i64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    /// The message a lock token holds.
    pub(crate) fn locked(&self, token: Uuid) -> Option<i64> {
        self.locks.get(&token).copied()
    }

    /// The oldest message a receiver may have.
    pub(crate) fn first_ready(&self) -> Option<i64> {
        self.ready.first().copied()
    }

    /// All messages from sequence number `from` on, in order.
    pub(crate) fn from(&self, from: i64) -> impl Iterator<Item = &Entry> {
        self.entries.range(from..).map(|(_, entry)| entry)
    }

    pub(crate) fn next_timer(&self) -> Option<OffsetDateTime> {
        let message = self.timers.first().map(|(at, _)| *at);
        let session = self.sessions.as_ref().and_then(Sessions::next_timer);
        [message, session].into_iter().flatten().min()
    }

    /// A session whose lock has run out by `now`, and who held it. Those who wait for a session and
    /// have run out of patience are told on the way.
    pub(crate) fn expired_session(
        &mut self,
        now: OffsetDateTime,
    ) -> Option<(SessionId, ConsumerId)> {
        let sessions = self.sessions.as_mut()?;
        sessions.give_up_seeking(now);
        sessions.expired(now)
    }

    /// The message whose timer ran out first, if any did by `now`.
    pub(crate) fn due(&self, now: OffsetDateTime) -> Option<i64> {
        self.timers
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, sequence)| *sequence)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn locked_count(&self) -> usize {
        self.locks.len()
    }

    pub(crate) fn scheduled_count(&self) -> usize {
        self.scheduled
    }

    pub(crate) fn deferred_count(&self) -> usize {
        self.deferred
    }

    /// Remembers that a receiver found nothing and waits.
    pub(crate) fn wait(&mut self, consumer: ConsumerId) {
        self.waiters.add(consumer);
    }

    /// Forgets a receiver that is gone or has no credit. It may have been woken for a message it
    /// will not take now, so the wake goes to the next one in line.
    pub(crate) fn leave(&mut self, consumer: ConsumerId) {
        self.waiters.remove(consumer);
        self.unannounced += 1;
    }

    /// The receivers to wake: one for each message that became ready since the last call.
    /// A receiver once woken takes a message, waits again or leaves; so while anybody waits, every
    /// ready message has somebody on the way to it.
    pub(crate) fn take_woken(&mut self) -> Vec<ConsumerId> {
        let count = self.unannounced.min(self.ready.len());
        self.unannounced = 0;
        let mut woken = self.waiters.take(count);
        woken.extend(self.sessions.iter_mut().flat_map(Sessions::take_woken));
        woken
    }

    /// Bytes of all messages.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn touch(&mut self, sequence: i64, was_there: bool) {
        if let Some(touched) = &mut self.touched {
            touched.entry(sequence).or_insert(was_there);
        }
    }

    fn put(&mut self, entry: Entry) {
        self.index(&entry);
        self.entries.insert(entry.sequence, entry);
    }

    fn take(&mut self, sequence: i64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.unindex(&entry);
        Some(entry)
    }

    fn index(&mut self, entry: &Entry) {
        self.size += entry.message.size();
        if entry.is_ready() {
            self.ready.insert(entry.sequence);
            self.unannounced += 1;
        }
        if let Some(sessions) = &mut self.sessions {
            sessions.index(entry);
        }
        if let Some(lock) = entry.lock {
            self.locks.insert(lock.token, entry.sequence);
        }
        if let Some(at) = entry.timer() {
            self.timers.insert((at, entry.sequence));
        }
        match entry.state {
            State::Scheduled => self.scheduled += 1,
            State::Deferred if entry.lock.is_none() => self.deferred += 1,
            State::Deferred | State::Active => {}
        }
    }

    fn unindex(&mut self, entry: &Entry) {
        self.size -= entry.message.size();
        if entry.is_ready() {
            self.ready.remove(&entry.sequence);
        }
        if let Some(sessions) = &mut self.sessions {
            sessions.unindex(entry);
        }
        if let Some(lock) = entry.lock {
            self.locks.remove(&lock.token);
        }
        if let Some(at) = entry.timer() {
            self.timers.remove(&(at, entry.sequence));
        }
        match entry.state {
            State::Scheduled => self.scheduled -= 1,
            State::Deferred if entry.lock.is_none() => self.deferred -= 1,
            State::Deferred | State::Active => {}
        }
    }
}
