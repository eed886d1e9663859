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
    /// Up to `count` messages from sequence number `from` on, whatever their state. Locks are not
    /// shown to someone who only looks.
    pub(crate) fn peek(
        &mut self,
        sub: SubQueue,
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

    /// Locks deferred messages by number: all of them, or none.
    ///
    /// # Errors
    /// When one of the numbers is not that of a deferred message, or it is locked.
    pub(crate) fn lock_deferred(
        &mut self,
        sub: SubQueue,
        sequences: &[i64],
        fresh_token: &mut dyn FnMut() -> Uuid,
        now: OffsetDateTime,
    ) -> Result<Vec<Entry>, NoSuchMessage> {
        self.advance(now);
        self.expect_all(sub, sequences, is_free_deferred)?;
        Ok(sequences
            .iter()
            .filter_map(|sequence| self.lock(sub, *sequence, fresh_token(), now))
            .collect())
    }

    /// Takes deferred messages away for good: all of them, or none.
    ///
    /// # Errors
    /// As for [`Queue::lock_deferred`].
    pub(crate) fn take_deferred(
        &mut self,
        sub: SubQueue,
        sequences: &[i64],
        now: OffsetDateTime,
    ) -> Result<Vec<Entry>, NoSuchMessage> {
        self.advance(now);
        self.expect_all(sub, sequences, is_free_deferred)?;
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

fn is_free_deferred(entry: &Entry) -> bool {
    entry.state == State::Deferred && entry.lock.is_none()
}
