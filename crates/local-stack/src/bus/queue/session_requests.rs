//! What a receiver may do with a session: accept it, receive within it, renew it, keep a state in
//! it, and let go of it.
//!
//! Only the link that accepted a session holds it. Requests to the management node come with the
//! links they may speak for (`holders`).

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use super::entry::{Entry, State};
use super::sessions::{SessionId, SessionLock, Sessions};
use super::waiters::ConsumerId;
use super::{Queue, SubQueue};

/// Why a session is not for whom asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    // In the service's words, which users search for.
    #[error(
        "The requested session '{0}' cannot be accepted. It may be locked by another receiver."
    )]
    CannotBeLocked(String),
    #[error("The session lock has expired on the MessageSession. Accept a new MessageSession.")]
    LockLost,
}

impl Queue {
    /// Whether messages here belong to sessions. Those of the dead-letter queue do not.
    pub(crate) fn has_sessions(&self, sub: SubQueue) -> bool {
        sub == SubQueue::Main && self.main.sessions.is_some()
    }

    /// Gives the session to `holder`; the end of its lock.
    ///
    /// # Errors
    /// When somebody holds it.
    pub(crate) fn accept_session(
        &mut self,
        id: &SessionId,
        holder: ConsumerId,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, SessionError> {
        self.advance(now);
        let until = now + self.config.lock_duration;
        let taken = || SessionError::CannotBeLocked(id.to_string());
        let sessions = self.main.sessions.as_mut().ok_or_else(taken)?;
        if sessions.get(id).is_some_and(|it| it.lock.is_some()) {
            return Err(taken());
        }
        sessions.set_lock(id, Some(SessionLock { holder, until }));
        Ok(until)
    }

    /// Gives `holder` the session with the oldest message among those that nobody holds. If there
    /// is none, it is in line for one until `deadline`.
    pub(crate) fn accept_next_session(
        &mut self,
        holder: ConsumerId,
        deadline: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Option<(SessionId, OffsetDateTime)> {
        self.advance(now);
        let sessions = self.main.sessions.as_mut()?;
        let Some(id) = sessions.next_available() else {
            if deadline > now {
                sessions.seek(holder, deadline);
            }
            return None;
        };
        sessions.stop_seeking(holder);
        let until = self.accept_session(&id, holder, now).ok()?;
        Some((id, until))
    }

    /// Forgets one that waits for any session.
    pub(crate) fn stop_seeking(&mut self, holder: ConsumerId) {
        if let Some(sessions) = &mut self.main.sessions {
            sessions.stop_seeking(holder);
        }
    }

    /// Until when `holders` hold the session.
    ///
    /// # Errors
    /// When none of them does (any more).
    pub(crate) fn session_held(
        &mut self,
        id: &str,
        holders: &[ConsumerId],
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, SessionError> {
        self.advance(now);
        let sessions = self.main.sessions.as_ref();
        sessions
            .and_then(|sessions| sessions.held_until(id, holders))
            .ok_or(SessionError::LockLost)
    }

    /// Starts the time of a session's lock anew, and with it that of its messages' locks; the new end.
    ///
    /// # Errors
    /// When none of `holders` holds it.
    pub(crate) fn renew_session(
        &mut self,
        id: &str,
        holders: &[ConsumerId],
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, SessionError> {
        self.session_held(id, holders, now)?;
        let until = now + self.config.lock_duration;
        let id = SessionId::from(id);
        let sessions = self.main.sessions.as_mut().ok_or(SessionError::LockLost)?;
        let before = sessions.get(&id).and_then(|session| session.lock);
        sessions.set_lock(&id, before.map(|lock| SessionLock { until, ..lock }));
        for sequence in sessions.locked(&id) {
            self.main.update(sequence, |entry| {
                if let Some(lock) = &mut entry.lock {
                    lock.until = until;
                }
            });
        }
        Ok(until)
    }

    /// The receiver closes its session: the messages it did not settle are back in their places, and
    /// this does not count as a failed delivery (Azure doc "Message sessions", message delivery
    /// count).
    pub(crate) fn release_session(&mut self, id: &str, holder: ConsumerId, now: OffsetDateTime) {
        if self.session_held(id, &[holder], now).is_err() {
            return;
        }
        let id = SessionId::from(id);
        for sequence in self.locked_in(&id) {
            self.main.update(sequence, |entry| entry.lock = None);
        }
        if let Some(sessions) = &mut self.main.sessions {
            sessions.set_lock(&id, None);
        }
        // A message that expired while it was locked does so now.
        self.advance(now);
    }

    /// A session's lock ran out: so did those of its messages, and each counts as a failed delivery
    /// (same source).
    pub(super) fn expire_session(&mut self, id: &SessionId, holder: ConsumerId) {
        for sequence in self.locked_in(id) {
            self.counters.lock_expiries += 1;
            self.give_back(SubQueue::Main, sequence, &[]);
        }
        if let Some(sessions) = &mut self.main.sessions {
            sessions.set_lock(id, None);
            // Its link is to be told.
            sessions.wake(holder);
        }
    }

    /// Locks the oldest ready message of a session that `holder` holds, or deletes it. `None` also
    /// when it does not hold it any more.
    pub(crate) fn next_in_session(
        &mut self,
        id: &str,
        holder: ConsumerId,
        token: Option<Uuid>,
        now: OffsetDateTime,
    ) -> Option<Entry> {
        let until = self.session_held(id, &[holder], now).ok()?;
        let sessions = self.main.sessions.as_mut()?;
        let Some(sequence) = sessions.first_ready(id) else {
            sessions.wait(id, holder);
            return None;
        };
        match token {
            Some(token) => self.lock(SubQueue::Main, sequence, token, until),
            None => {
                self.counters.received_and_deleted += 1;
                self.main.remove(sequence)
            }
        }
    }

    /// A session's holder has no more credit.
    pub(crate) fn leave_session(&mut self, id: &str, holder: ConsumerId) {
        if let Some(sessions) = &mut self.main.sessions {
            sessions.leave(id, holder);
        }
    }

    /// A session's state.
    ///
    /// # Errors
    /// When none of `holders` holds it.
    pub(crate) fn session_state(
        &mut self,
        id: &str,
        holders: &[ConsumerId],
        now: OffsetDateTime,
    ) -> Result<Option<Bytes>, SessionError> {
        self.session_held(id, holders, now)?;
        let sessions = self.main.sessions.as_ref();
        Ok(sessions.and_then(|sessions| sessions.get(id)?.state.clone()))
    }

    /// Replaces a session's state; `None` clears it.
    ///
    /// # Errors
    /// When none of `holders` holds it.
    pub(crate) fn set_session_state(
        &mut self,
        id: &str,
        state: Option<Bytes>,
        holders: &[ConsumerId],
        now: OffsetDateTime,
    ) -> Result<(), SessionError> {
        self.session_held(id, holders, now)?;
        if let Some(sessions) = &mut self.main.sessions {
            sessions.set_state(&SessionId::from(id), state, now);
        }
        Ok(())
    }

    /// The names of sessions, in order: those whose state was set after `updated_after`, or with
    /// `None` those that have active messages or a state (azure-servicebus for Python,
    /// `_session_browser.py`).
    pub(crate) fn list_sessions(
        &mut self,
        updated_after: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Vec<SessionId> {
        self.advance(now);
        let sessions = self.main.sessions.iter().flat_map(Sessions::iter);
        let with_state = sessions.filter(|(_, session)| {
            let set_at = session.state_set_at.filter(|_| session.state.is_some());
            set_at.is_some_and(|at| updated_after.is_none_or(|after| at > after))
        });
        let mut found: Vec<SessionId> = with_state.map(|(id, _)| Arc::clone(id)).collect();
        if updated_after.is_none() {
            let active = self.main.from(i64::MIN);
            let active = active.filter(|entry| entry.state == State::Active);
            found.extend(active.filter_map(|entry| entry.message.session.clone()));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn locked_in(&self, id: &str) -> Vec<i64> {
        let sessions = self.main.sessions.as_ref();
        sessions.map_or_else(Vec::new, |sessions| sessions.locked(id))
    }
}
