//! How messages are taken from an entity, and what becomes of them.

use crate::value::Properties;

/// How a receiver takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveMode {
    /// The message is locked for the receiver, and comes back unless it is settled in time.
    PeekLock,
    /// The broker deletes the message as it sends it. A receiver that dies loses it.
    ReceiveAndDelete,
}

/// What becomes of a locked message.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Remove it: it has been dealt with.
    Complete,
    /// Give it back: it is delivered again, with its delivery count raised.
    Abandon {
        /// Application properties to add or replace on the message.
        properties: Properties,
    },
    /// Put it aside: from now on it is only found by its sequence number.
    Defer {
        /// Application properties to add or replace on the message.
        properties: Properties,
    },
    /// Move it to the dead-letter queue.
    DeadLetter {
        /// Becomes the application property `DeadLetterReason`. Cut to 4,096 characters.
        reason: String,
        /// Becomes the application property `DeadLetterErrorDescription`. Cut to 4,096 characters.
        description: String,
        /// Further application properties to add or replace on the message.
        properties: Properties,
    },
}
