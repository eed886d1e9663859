//! The second index of an entity with sessions: which messages of which session are ready or
//! locked, who holds a session, who waits for one.
//!
//! A session comes into being with its first message or its first receiver and is forgotten when it
//! has neither messages to hand out, nor a lock, nor a state.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use super::changes::SessionState;
use super::entry::Entry;
use super::waiters::{ConsumerId, Waiters};

/// A session's name: the group-id of its messages.
pub(crate) type SessionId = Arc<str>;

/// All sessions of one entity. Knows messages by their numbers only.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: HashMap<SessionId, Session>,
    /// Sessions that nobody holds and that have a ready message, by their oldest one.
    available: BTreeSet<(i64, SessionId)>,
    /// When the locks of sessions run out.
    expiries: BTreeSet<(OffsetDateTime, SessionId)>,
    /// Receivers that wait for any session, and until when.
    seekers: Waiters,
    patience: BTreeSet<(OffsetDateTime, ConsumerId)>,
    /// To be told of something that cannot wait until they ask.
    woken: Vec<ConsumerId>,
    /// Those whose state has changed since somebody asked; `None` while nobody does.
    changed: Option<BTreeSet<SessionId>>,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    ready: BTreeSet<i64>,
    locked: BTreeSet<i64>,
    pub(super) lock: Option<SessionLock>,
    /// Its holder has credit and found nothing.
    is_hungry: bool,
    pub(super) state: Option<Bytes>,
    pub(super) state_set_at: Option<OffsetDateTime>,
    /// Under which number it stands in `available`.
    listed: Option<i64>,
}

/// Who holds a session, and until when. It is the umbrella over the locks of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionLock {
    pub(super) holder: ConsumerId,
    pub(super) until: OffsetDateTime,
}

impl Sessions {
    // === messages come and go ===

    pub(super) fn index(&mut self, entry: &Entry) {
        let Some(id) = &entry.message.session else {
            return;
        };
        if entry.is_ready() {
            self.change(id, |session| session.ready.insert(entry.sequence));
            self.feed(id);
        } else if entry.lock.is_some() {
            self.change(id, |session| session.locked.insert(entry.sequence));
        }
    }

    pub(super) fn unindex(&mut self, entry: &Entry) {
        let Some(id) = &entry.message.session else {
            return;
        };
        if entry.is_ready() {
            self.change(id, |session| session.ready.remove(&entry.sequence));
        } else if entry.lock.is_some() {
            self.change(id, |session| session.locked.remove(&entry.sequence));
        }
    }

    pub(super) fn first_ready(&self, id: &str) -> Option<i64> {
        self.by_id.get(id)?.ready.first().copied()
    }

    /// The messages that are locked under a session's lock, in order.
    pub(super) fn locked(&self, id: &str) -> Vec<i64> {
        let session = self.by_id.get(id);
        session.map_or_else(Vec::new, |it| it.locked.iter().copied().collect())
    }

    // === locks ===

    pub(super) fn get(&self, id: &str) -> Option<&Session> {
        self.by_id.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.by_id.iter()
    }

    /// The session with the oldest message among those that nobody holds.
    pub(super) fn next_available(&self) -> Option<SessionId> {
        self.available.first().map(|(_, id)| Arc::clone(id))
    }

    /// Until when the session is held, if it is, and by one of these.
    pub(super) fn held_until(&self, id: &str, holders: &[ConsumerId]) -> Option<OffsetDateTime> {
        let lock = self.by_id.get(id)?.lock?;
        holders.contains(&lock.holder).then_some(lock.until)
    }

    /// Sets, renews or takes away a session's lock.
    pub(super) fn set_lock(&mut self, id: &SessionId, lock: Option<SessionLock>) {
        let before = self.by_id.get(id).and_then(|session| session.lock);
        if let Some(before) = before {
            self.expiries.remove(&(before.until, Arc::clone(id)));
        }
        if let Some(lock) = lock {
            self.expiries.insert((lock.until, Arc::clone(id)));
        }
        self.change(id, |session| {
            session.lock = lock;
            session.is_hungry &= lock.is_some();
        });
    }

    pub(super) fn set_state(&mut self, id: &SessionId, state: Option<Bytes>, now: OffsetDateTime) {
        self.change(id, |session| {
            session.state_set_at = Some(now);
            session.state = state;
        });
        if let Some(changed) = &mut self.changed {
            changed.insert(Arc::clone(id));
        }
    }

    /// Has [`Sessions::take_changed_states`] tell of every change from now on.
    pub(super) fn record(&mut self) {
        self.changed = Some(BTreeSet::new());
    }

    /// The states that have changed since it was last asked, as they are now.
    pub(super) fn take_changed_states(&mut self) -> Vec<(SessionId, Option<SessionState>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let changed = changed.into_iter().flatten();
        changed
            .map(|id| {
                let session = self.by_id.get(&id);
                let state = session.and_then(|session| {
                    Some(SessionState {
                        state: session.state.clone()?,
                        set_at: session.state_set_at?,
                    })
                });
                (id, state)
            })
            .collect()
    }

    /// A session whose lock has run out by `now`, with who held it.
    pub(super) fn expired(&self, now: OffsetDateTime) -> Option<(SessionId, ConsumerId)> {
        let (until, id) = self.expiries.first()?;
        let holder = self.by_id.get(id)?.lock?.holder;
        (*until <= now).then(|| (Arc::clone(id), holder))
    }

    pub(super) fn next_timer(&self) -> Option<OffsetDateTime> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let patience = self.patience.first().map(|(at, _)| *at);
        [expiry, patience].into_iter().flatten().min()
    }

    // === those who wait ===

    /// A session's holder waits for its next message.
    pub(super) fn wait(&mut self, id: &str, holder: ConsumerId) {
        if let Some(session) = self.by_id.get_mut(id) {
            session.is_hungry = session.lock.is_some_and(|lock| lock.holder == holder);
        }
    }

    /// A session's holder waits no longer.
    pub(super) fn leave(&mut self, id: &str, holder: ConsumerId) {
        if let Some(session) = self.by_id.get_mut(id)
            && session.lock.is_some_and(|lock| lock.holder == holder)
        {
            session.is_hungry = false;
        }
    }

    /// Gets in line for any session until `deadline`.
    pub(super) fn seek(&mut self, seeker: ConsumerId, deadline: OffsetDateTime) {
        self.seekers.add(seeker);
        self.patience.insert((deadline, seeker));
    }

    /// Leaves the line for any session.
    pub(super) fn stop_seeking(&mut self, seeker: ConsumerId) {
        self.seekers.remove(seeker);
        self.patience.retain(|(_, waiting)| *waiting != seeker);
    }

    /// Takes those whose patience has run out by `now` out of the line, and has them told.
    pub(super) fn give_up_seeking(&mut self, now: OffsetDateTime) {
        while let Some((deadline, seeker)) = self.patience.first().copied()
            && deadline <= now
        {
            self.patience.pop_first();
            self.seekers.remove(seeker);
            self.woken.push(seeker);
        }
    }

    pub(super) fn wake(&mut self, consumer: ConsumerId) {
        self.woken.push(consumer);
    }

    /// Whom to wake: holders with a new message, those who have lost or not found a session, and as
    /// many seekers as there are sessions to be had. A seeker woken takes one, seeks again or leaves.
    pub(super) fn take_woken(&mut self) -> Vec<ConsumerId> {
        let mut woken = std::mem::take(&mut self.woken);
        woken.extend(self.seekers.take(self.available.len()));
        woken
    }

    // === internals ===

    /// A ready message's session has a holder that waits for one.
    fn feed(&mut self, id: &str) {
        if let Some(session) = self.by_id.get_mut(id)
            && let Some(lock) = session.lock
            && std::mem::take(&mut session.is_hungry)
        {
            self.woken.push(lock.holder);
        }
    }

    /// Changes a session and keeps the indexes over sessions true.
    fn change<R>(&mut self, id: &SessionId, change: impl FnOnce(&mut Session) -> R) {
        let session = self.by_id.entry(Arc::clone(id)).or_default();
        change(session);
        let listed = match session.lock {
            None => session.ready.first().copied(),
            Some(_) => None,
        };
        if listed != session.listed {
            if let Some(number) = std::mem::replace(&mut session.listed, listed) {
                self.available.remove(&(number, Arc::clone(id)));
            }
            if let Some(number) = listed {
                self.available.insert((number, Arc::clone(id)));
            }
        }
        if session.is_forgettable() {
            self.by_id.remove(id);
        }
    }
}

impl Session {
    fn is_forgettable(&self) -> bool {
        self.ready.is_empty()
            && self.locked.is_empty()
            && self.lock.is_none()
            && self.state.is_none()
    }
}
