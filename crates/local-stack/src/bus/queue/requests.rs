//! What a queue answers to its management node beyond settling: peek, cancel, receive deferred.

use time::OffsetDateTime;
use uuid::Uuid;

use super::entry::{Entry, State};
use super::{Queue, SubQueue};

/// A sequence number that names no message in the state the request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such message with sequence number {0}")]
pub(crate) struct NoSuchMessage(pub(crate) i64);

impl Queue {
    /// Up to `count` messages from sequence number `from` on, of one session or of all, whatever
    /// their state. Locks are not shown to someone who only looks.
    pub(crate) fn peek(
        &mut self,
        sub: SubQueue,
        session: Option<&str>,
        from: i64,
        count: usize,
        now: OffsetDateTime,
    ) -> Vec<Entry> {
        self.advance(now);
        let unlocked = |entry: &Entry| Entry {
            lock: None,
            ..entry.clone()
        };
        self.store(sub)
            .from(from)
            .filter(|entry| session.is_none_or(|id| entry.message.session.as_deref() == Some(id)))
            .take(count)
            .map(unlocked)
            .collect()
    }

    /// Removes scheduled messages: all of them, or none.
    ///
    /// # Errors
    /// When one of the numbers is not that of a scheduled message.
    pub(crate) fn cancel_scheduled(
        &mut self,
        sequences: &[i64],
        now: OffsetDateTime,
    ) -> Result<(), NoSuchMessage> {
        self.advance(now);
        self.expect_all(SubQueue::Main, sequences, |entry| {
            entry.state == State::Scheduled
        })?;
        for sequence in sequences {
            self.main.remove(*sequence);
            self.counters.cancelled += 1;
        }
        Ok(())
    }

    /// Locks deferred messages by number: all of them, or none. Within a session its lock covers
    /// them, so that `until` is the end of that.
    ///
    /// # Errors
    /// When one of the numbers is not that of a deferred message (of the session), or it is locked.
    pub(crate) fn lock_deferred(
        &mut self,
        sub: SubQueue,
        session: Option<(&str, OffsetDateTime)>,
        sequences: &[i64],
        fresh_token: &mut dyn FnMut() -> Uuid,
        now: OffsetDateTime,
    ) -> Result<Vec<Entry>, NoSuchMessage> {
        self.advance(now);
        let id = session.map(|(id, _)| id);
        self.expect_all(sub, sequences, |entry| is_free_deferred(entry, id))?;
        let until = session.map_or(now + self.config.lock_duration, |(_, until)| until);
        Ok(sequences
            .iter()
            .filter_map(|sequence| self.lock(sub, *sequence, fresh_token(), until))
            .collect())
    }

    /// Takes deferred messages away for good: all of them, or none.
    ///
    /// # Errors
    /// As for [`Queue::lock_deferred`].
    pub(crate) fn take_deferred(
        &mut self,
        sub: SubQueue,
        session: Option<&str>,
        sequences: &[i64],
        now: OffsetDateTime,
    ) -> Result<Vec<Entry>, NoSuchMessage> {
        self.advance(now);
        self.expect_all(sub, sequences, |entry| is_free_deferred(entry, session))?;
        let store = self.store_mut(sub);
        let taken: Vec<_> = sequences
            .iter()
            .filter_map(|number| store.remove(*number))
            .collect();
        self.counters.received_and_deleted += taken.len() as u64;
        Ok(taken)
    }

    fn expect_all(
        &self,
        sub: SubQueue,
        sequences: &[i64],
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<(), NoSuchMessage> {
        match sequences
            .iter()
            .find(|number| !self.store(sub).get(**number).is_some_and(&fits))
        {
            Some(number) => Err(NoSuchMessage(*number)),
            None => Ok(()),
        }
    }
}

fn is_free_deferred(entry: &Entry, session: Option<&str>) -> bool {
    entry.state == State::Deferred
        && entry.lock.is_none()
        && session.is_none_or(|id| entry.message.session.as_deref() == Some(id))
}
