//! What was promised, checked against what the world recorded.
//!
//! [`watch`] looks at each step as it happens, [`copies`] at each scheduled copy, [`durable`] and
//! [`rows`] at each settlement; [`after`] compares the end with the truth. The promises are those of ARCHITECTURE.md, "Invariants".

pub(crate) mod after;
mod copies;
mod durable;
mod rows;
pub(crate) mod watch;

use std::fmt;

use service_bus::OutgoingMessage;
use sync_core::acknowledgement::Acknowledgement;
use sync_core::message::ORIGINAL_MESSAGE_ID;

use crate::ledger::watch::AckSent;
use crate::world::{State, Which};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I10`.
    pub invariant: &'static str,
    /// The row it is about, by its number in the run.
    pub row: Option<usize>,
    /// What was found, and what was promised.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(row) => write!(f, "{} row {row}: {}", self.invariant, self.text),
            None => write!(f, "{}: {}", self.invariant, self.text),
        }
    }
}

impl State {
    pub(crate) fn violation(&mut self, invariant: &'static str, row: Option<usize>, text: String) {
        self.note(row, format!("VIOLATION {invariant}: {text}"));
        self.watch.violations.push(Violation {
            invariant,
            row,
            text,
        });
    }

    /// What a message is about: the change behind a notification, or the acknowledgement, which is
    /// entered into the book here. With it, the row.
    pub(crate) fn identify(
        &mut self,
        which: Which,
        message: &OutgoingMessage,
    ) -> (Option<usize>, Option<usize>) {
        let id = message.message_id.as_deref().unwrap_or_default();
        let original = message
            .properties
            .get(ORIGINAL_MESSAGE_ID)
            .and_then(service_bus::Value::as_str);
        let original = original.unwrap_or(id);
        let about = match which {
            Which::Outbound => self.truth.find(original),
            Which::Inbound => self
                .watch
                .find_ack(original)
                .or_else(|| self.enter(original, message)),
        };
        (about, self.row_of(which, about))
    }

    fn enter(&mut self, id: &str, message: &OutgoingMessage) -> Option<usize> {
        let Ok(ack) = Acknowledgement::decode(&message.body) else {
            self.violation("I7", None, format!("{id} is no acknowledgement"));
            return None;
        };
        let sent = AckSent {
            at: self.now(),
            row: self.number(ack.source_row_id)?,
            outcome: ack.outcome,
            version: ack.source_version.map(|v| v.0),
            processed_at: ack.processed_at,
            notification: ack.notification_id,
        };
        Some(self.watch.enter(id, sent))
    }

    pub(crate) fn row_of(&self, which: Which, about: Option<usize>) -> Option<usize> {
        match which {
            Which::Outbound => Some(self.truth.changes.get(about?)?.row),
            Which::Inbound => Some(self.watch.acks.get(about?)?.row),
        }
    }

    /// A message in the story's words.
    pub(crate) fn describe(&self, which: Which, about: Option<usize>) -> String {
        let Some(about) = about else {
            return "an unknown message".into();
        };
        match which {
            Which::Outbound => {
                let change = &self.truth.changes[about];
                format!(
                    "notification {about} ({:?} v{})",
                    change.kind, change.version
                )
            }
            Which::Inbound => {
                let ack = &self.watch.acks[about];
                let version = ack
                    .version
                    .map_or_else(|| "no version".into(), |v| format!("v{v}"));
                format!(
                    "acknowledgement {about} ({} {version})",
                    ack.outcome.as_str()
                )
            }
        }
    }
}
