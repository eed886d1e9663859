//! What a test does to a queue that no client can.

use time::OffsetDateTime;
use uuid::Uuid;

use super::sessions::{SessionId, SessionLock, Sessions};
use super::{Queue, SubQueue};

impl Queue {
    /// Ends a lock as if its time had run out; whether there was one. Within a session there is but
    /// one, the session's, and all its messages are lost with it.
    pub(crate) fn lose_lock(&mut self, sub: SubQueue, token: Uuid, now: OffsetDateTime) -> bool {
        self.advance(now);
        let Some(sequence) = self.store(sub).locked(token) else {
            return false;
        };
        let entry = self.store(sub).get(sequence);
        if let Some(session) = entry.and_then(|entry| entry.message.session.clone())
            && self.has_sessions(sub)
        {
            return self.lose_session(&session, now);
        }
        self.counters.lock_expiries += 1;
        self.give_back(sub, sequence, &[]);
        self.advance(now);
        true
    }

    /// Ends a session's lock as if its time had run out; whether there was one.
    pub(crate) fn lose_session(&mut self, id: &str, now: OffsetDateTime) -> bool {
        self.advance(now);
        let sessions = self.main.sessions.as_ref();
        let Some(SessionLock { holder, .. }) = sessions.and_then(|all| all.get(id)?.lock) else {
            return false;
        };
        self.expire_session(&id.into(), holder);
        self.advance(now);
        true
    }

    /// Ends all locks, those in the dead-letter queue included; how many there were. A session
    /// counts as one, whatever messages of it are out.
    pub(crate) fn lose_locks(&mut self, now: OffsetDateTime) -> usize {
        self.advance(now);
        let sessions = self.main.sessions.iter().flat_map(Sessions::iter);
        let held = sessions.filter(|(_, session)| session.lock.is_some());
        let held: Vec<SessionId> = held.map(|(id, _)| id.clone()).collect();
        let mut lost = 0;
        for session in held {
            lost += usize::from(self.lose_session(&session, now));
        }
        for sub in [SubQueue::Main, SubQueue::DeadLetter] {
            let tokens: Vec<Uuid> = self
                .entries(sub)
                .filter_map(|entry| entry.lock.map(|lock| lock.token))
                .collect();
            for token in tokens {
                lost += usize::from(self.lose_lock(sub, token, now));
            }
        }
        lost
    }
}
