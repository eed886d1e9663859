//! What a receiver may do with a message it has locked.

use serde_amqp::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::entry::State;
use super::transitions::reasons;
use super::{Queue, SubQueue};

/// A receiver's verdict on a locked message. `properties` are application properties to set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Settlement {
    Complete,
    /// Also what a receiver's `released` means: the service counts releases as failed deliveries
    /// ("AMQP 1.0 protocol guide": dead-lettered on "repeated rejections or releases").
    Abandon {
        properties: Vec<(String, Value)>,
    },
    Defer {
        properties: Vec<(String, Value)>,
    },
    DeadLetter {
        reason: Option<String>,
        description: Option<String>,
        properties: Vec<(String, Value)>,
    },
}

/// Why a settlement had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettleError {
    #[error(
        "The lock supplied is invalid. Either the lock expired, or the message has already been \
         removed from the queue."
    )]
    LockLost,
    #[error("A message in a dead-letter queue cannot be dead-lettered again.")]
    AlreadyDead,
}

impl Queue {
    /// Settles the message that `token` holds, whoever holds the token.
    ///
    /// # Errors
    /// When the lock is gone, or the message is to be dead-lettered out of the dead-letter queue.
    pub(crate) fn settle(
        &mut self,
        sub: SubQueue,
        token: Uuid,
        settlement: &Settlement,
        now: OffsetDateTime,
    ) -> Result<(), SettleError> {
        self.advance(now);
        let sequence = self.store(sub).locked(token).ok_or(SettleError::LockLost)?;
        match settlement {
            Settlement::Complete => {
                self.counters.completed += 1;
                self.store_mut(sub).remove(sequence);
            }
            Settlement::Abandon { properties } => {
                self.counters.abandoned += 1;
                self.give_back(sub, sequence, properties);
            }
            Settlement::Defer { properties } => {
                self.counters.deferred += 1;
                self.store_mut(sub).update(sequence, |entry| {
                    entry.lock = None;
                    entry.state = State::Deferred;
                    entry.message.set_application_properties(properties);
                });
            }
            Settlement::DeadLetter {
                reason,
                description,
                properties,
            } => {
                if sub == SubQueue::DeadLetter {
                    return Err(SettleError::AlreadyDead);
                }
                let mut changes = properties.clone();
                changes.extend(reasons(reason.as_deref(), description.as_deref()));
                self.bury(sequence, &changes);
            }
        }
        // A message that expired while it was locked does so now.
        self.advance(now);
        Ok(())
    }

    /// Starts a lock's time anew; the new end.
    ///
    /// # Errors
    /// When the lock is gone.
    pub(crate) fn renew(
        &mut self,
        sub: SubQueue,
        token: Uuid,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, SettleError> {
        self.advance(now);
        let until = now + self.config.lock_duration;
        let sequence = self.store(sub).locked(token).ok_or(SettleError::LockLost)?;
        self.store_mut(sub).update(sequence, |entry| {
            if let Some(lock) = &mut entry.lock {
                lock.until = until;
            }
        });
        Ok(until)
    }

    /// Whether every one of `tokens` still holds a message, and one of the session if any is given.
    pub(crate) fn holds(
        &mut self,
        sub: SubQueue,
        session: Option<&str>,
        tokens: &[Uuid],
        now: OffsetDateTime,
    ) -> bool {
        self.advance(now);
        let store = self.store(sub);
        tokens.iter().all(|token| {
            let entry = store
                .locked(*token)
                .and_then(|sequence| store.get(sequence));
            entry.is_some_and(|entry| {
                session.is_none_or(|id| entry.message.session.as_deref() == Some(id))
            })
        })
    }
}
