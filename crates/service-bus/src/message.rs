//! Messages as callers see them.

use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::value::{Properties, Value};

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutgoingMessage {
    /// The body, sent as one AMQP data section.
    pub body: Bytes,
    /// The id that duplicate detection goes by. At most 128 characters.
    pub message_id: Option<String>,
    /// The id of the business operation the message belongs to.
    pub correlation_id: Option<String>,
    /// The session the message belongs to, for entities with sessions.
    pub session_id: Option<String>,
    /// Keeps messages with the same key together on a partitioned entity.
    pub partition_key: Option<String>,
    /// What the message is about (the SDKs' subject or label).
    pub subject: Option<String>,
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// The entity that answers go to.
    pub reply_to: Option<String>,
    /// The entity the message is meant for, where something forwards it.
    pub to: Option<String>,
    /// How long the message lives from when it is enqueued. Sent in milliseconds.
    pub time_to_live: Option<Duration>,
    /// When the message appears in the entity. Sent in milliseconds, UTC.
    pub scheduled_enqueue_time: Option<OffsetDateTime>,
    /// Application properties.
    pub properties: Properties,
}

impl OutgoingMessage {
    /// A message with a body and nothing else.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }
}

/// Where a message stands in its entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// Ready to be received, or locked by a receiver.
    Active,
    /// Put aside: only found by its sequence number.
    Deferred,
    /// Waiting for its enqueue time.
    Scheduled,
}

/// A message received, peeked at, or fetched by its sequence number.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMessage {
    /// The body: the data sections joined, or the bytes of a binary or string AMQP value. Empty for
    /// any other kind of body.
    pub body: Bytes,
    /// See [`OutgoingMessage::message_id`].
    pub message_id: Option<String>,
    /// See [`OutgoingMessage::correlation_id`].
    pub correlation_id: Option<String>,
    /// See [`OutgoingMessage::session_id`].
    pub session_id: Option<String>,
    /// See [`OutgoingMessage::partition_key`].
    pub partition_key: Option<String>,
    /// See [`OutgoingMessage::subject`].
    pub subject: Option<String>,
    /// See [`OutgoingMessage::content_type`].
    pub content_type: Option<String>,
    /// See [`OutgoingMessage::reply_to`].
    pub reply_to: Option<String>,
    /// See [`OutgoingMessage::to`].
    pub to: Option<String>,
    /// See [`OutgoingMessage::time_to_live`].
    pub time_to_live: Option<Duration>,
    /// See [`OutgoingMessage::scheduled_enqueue_time`].
    pub scheduled_enqueue_time: Option<OffsetDateTime>,
    /// Application properties.
    pub properties: Properties,
    /// What the message is settled by. `None` when it was peeked at or received and deleted.
    pub lock_token: Option<Uuid>,
    /// Earlier failed deliveries, as on the wire: 0 on the first delivery.
    pub delivery_count: u32,
    /// The broker's number for the message, unique in its entity.
    pub sequence_number: i64,
    /// The number it had when it was first enqueued.
    pub enqueued_sequence_number: i64,
    /// When it was enqueued.
    pub enqueued_time: OffsetDateTime,
    /// When the lock ends unless it is renewed.
    pub locked_until: Option<OffsetDateTime>,
    /// When it expires: `enqueued_time + time_to_live`.
    pub expires_at: Option<OffsetDateTime>,
    /// The entity it was dead-lettered in, if it was forwarded out of a dead-letter queue since.
    pub dead_letter_source: Option<String>,
    /// Where it stands in its entity.
    pub state: MessageState,
    /// Whether `body` and `properties` hold all of the body and the application properties. They cannot
    /// hold an AMQP sequence, or an AMQP value or property that is neither text nor bytes nor a number and
    /// the like: a copy made of the message would lack that.
    pub is_whole: bool,
}

impl ReceivedMessage {
    /// Why the message is in the dead-letter queue.
    pub fn dead_letter_reason(&self) -> Option<&str> {
        self.properties
            .get("DeadLetterReason")
            .and_then(Value::as_str)
    }

    /// The details of why the message is in the dead-letter queue.
    pub fn dead_letter_description(&self) -> Option<&str> {
        self.properties
            .get("DeadLetterErrorDescription")
            .and_then(Value::as_str)
    }
}
