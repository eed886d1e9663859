//! What of a queue outlives a restart, and how it tells of changes to that.
//!
//! Locks and those who wait are not among it: after a restart a message that was locked is there
//! for the next receiver, with the delivery count it had.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use super::entry::Entry;
use super::sessions::SessionId;
use super::{Queue, SubQueue};

/// One thing that is different now. The last word on a thing counts.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A message as it is now; `None` when it is gone.
    Message {
        sub: SubQueue,
        sequence: i64,
        entry: Option<Box<Entry>>,
    },
    /// A session's state; `None` when it has none any more.
    Session {
        id: SessionId,
        state: Option<SessionState>,
    },
    /// A message id that duplicate detection knows until then; `None` when it is forgotten.
    Duplicate {
        id: Arc<str>,
        until: Option<OffsetDateTime>,
    },
    /// The highest sequence number given out.
    LastSequence(i64),
}

/// What a session's receivers keep in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionState {
    pub(crate) state: Bytes,
    pub(crate) set_at: OffsetDateTime,
}

/// What a queue held when it was last heard of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) last_sequence: i64,
    pub(crate) messages: Vec<(SubQueue, Entry)>,
    pub(crate) sessions: Vec<(SessionId, SessionState)>,
    pub(crate) duplicates: Vec<(Arc<str>, OffsetDateTime)>,
}

impl Queue {
    /// The queue with what it held before, telling of its changes from now on.
    pub(crate) fn restored(mut self, contents: Contents) -> Self {
        self.last_sequence = contents.last_sequence;
        for (sub, entry) in contents.messages {
            self.store_mut(sub).insert(entry);
        }
        if let Some(sessions) = &mut self.main.sessions {
            for (id, SessionState { state, set_at }) in contents.sessions {
                sessions.set_state(&id, Some(state), set_at);
            }
        }
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.restore(contents.duplicates);
        }
        self.record();
        self
    }

    /// Everything that has changed since it was last asked; nothing unless it was
    /// [`restored`](Queue::restored).
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let Some(told) = self.told_sequence else {
            return changes;
        };
        for sub in [SubQueue::Main, SubQueue::DeadLetter] {
            let touched = self.store_mut(sub).take_touched();
            changes.extend(
                touched
                    .into_iter()
                    .map(|(sequence, entry)| Change::Message {
                        sub,
                        sequence,
                        entry: entry.map(Box::new),
                    }),
            );
        }
        if let Some(sessions) = &mut self.main.sessions {
            let changed = sessions.take_changed_states();
            changes.extend(
                changed
                    .into_iter()
                    .map(|(id, state)| Change::Session { id, state }),
            );
        }
        if let Some(duplicates) = &mut self.duplicates {
            let changed = duplicates.take_changes();
            changes.extend(
                changed
                    .into_iter()
                    .map(|(id, until)| Change::Duplicate { id, until }),
            );
        }
        if told != self.last_sequence {
            self.told_sequence = Some(self.last_sequence);
            changes.push(Change::LastSequence(self.last_sequence));
        }
        changes
    }

    fn record(&mut self) {
        self.told_sequence = Some(self.last_sequence);
        self.main.record();
        self.dead.record();
        if let Some(sessions) = &mut self.main.sessions {
            sessions.record();
        }
        if let Some(duplicates) = &mut self.duplicates {
            duplicates.record();
        }
    }
}
