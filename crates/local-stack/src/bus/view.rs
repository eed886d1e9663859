//! What tests and ledgers see of a queue, from the broker's own records.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_amqp::Value;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::queue::entry::{Entry, State};
use super::queue::message::{self, identifier};
use super::wire::section;
use super::wire::values;

/// How many messages a queue has, by state. Every message is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Ready for the next receiver.
    pub active: usize,
    /// Held by a receiver, deferred ones included.
    pub locked: usize,
    /// Waiting for their time.
    pub scheduled: usize,
    /// Set aside, not held by anybody.
    pub deferred: usize,
    /// In the dead-letter queue, in whatever state.
    pub dead_letter: usize,
}

/// What has happened in a queue and its dead-letter queue since the broker started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages accepted from senders, scheduled ones and duplicates included.
    pub sent: u64,
    /// Of these, accepted for a later time, whether by annotation or over the management node.
    pub scheduled: u64,
    /// Of those sent, dropped as duplicates.
    pub duplicates_dropped: u64,
    /// Scheduled messages taken back.
    pub cancelled: u64,
    /// Messages completed.
    pub completed: u64,
    /// Messages that left by themselves: copied from a topic to its subscriptions, or forwarded.
    pub forwarded: u64,
    /// Messages that left with their delivery (receive-and-delete).
    pub received_and_deleted: u64,
    /// Deliveries abandoned or released.
    pub abandoned: u64,
    /// Deliveries deferred.
    pub deferred: u64,
    /// Messages moved to the dead-letter queue, for whatever reason.
    pub dead_lettered: u64,
    /// Locks that ran out.
    pub lock_expiries: u64,
    /// Messages whose time to live ran out.
    pub ttl_expiries: u64,
}

/// All messages of a queue, each list by sequence number.
#[derive(Debug, Clone, Default)]
pub struct QueueSnapshot {
    /// Ready for the next receiver.
    pub active: Vec<MessageView>,
    /// Held by a receiver.
    pub locked: Vec<MessageView>,
    /// Waiting for their time.
    pub scheduled: Vec<MessageView>,
    /// Set aside, not held by anybody.
    pub deferred: Vec<MessageView>,
    /// In the dead-letter queue.
    pub dead_letter: Vec<MessageView>,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageState {
    /// Ready for the next receiver.
    Active,
    /// Held by a receiver.
    Locked,
    /// Waiting for its time.
    Scheduled,
    /// Set aside.
    Deferred,
}

/// One message, decoded for inspection.
#[derive(Debug, Clone)]
pub struct MessageView {
    /// Its message id, as text; made up by the broker if the sender gave none.
    pub message_id: String,
    /// Its correlation id, as text.
    pub correlation_id: Option<String>,
    /// Its session id (AMQP group-id).
    pub session_id: Option<String>,
    /// Its subject, once called label.
    pub subject: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its application properties. Timestamps appear as RFC 3339, uuids as text, binary as base64.
    pub properties: BTreeMap<String, serde_json::Value>,
    /// The bytes of its data sections, or of a text value; else the encoded body.
    pub body: Bytes,
    /// Earlier deliveries that failed.
    pub delivery_count: u32,
    /// Its sequence number now.
    pub sequence_number: i64,
    /// The sequence number it was first given.
    pub enqueued_sequence_number: i64,
    /// When it became receivable, or will.
    pub enqueued_time: OffsetDateTime,
    /// When its lock runs out, while it is locked.
    pub locked_until: Option<OffsetDateTime>,
    /// When its time to live runs out.
    pub expires_at: Option<OffsetDateTime>,
    /// Where it is.
    pub state: MessageState,
    /// Why it was dead-lettered.
    pub dead_letter_reason: Option<String>,
    /// Details of why it was dead-lettered.
    pub dead_letter_description: Option<String>,
}

impl MessageView {
    pub(super) fn of(entry: &Entry) -> Self {
        let message = &entry.message;
        let fields = message.property_fields();
        let text = |index: usize| {
            fields
                .get(index)
                .and_then(values::text)
                .map(std::borrow::ToOwned::to_owned)
        };
        let properties: BTreeMap<_, _> = message
            .application_property_map()
            .into_iter()
            .filter_map(|(name, value)| Some((values::text(&name)?.to_owned(), to_json(&value))))
            .collect();
        let property = |name: &str| properties.get(name)?.as_str().map(str::to_owned);
        MessageView {
            message_id: message.id.to_string(),
            correlation_id: fields.get(message::CORRELATION_ID).and_then(identifier),
            session_id: text(message::GROUP_ID),
            subject: text(message::SUBJECT),
            content_type: text(message::CONTENT_TYPE),
            body: body_bytes(&message.body),
            delivery_count: entry.delivery_count,
            sequence_number: entry.sequence,
            enqueued_sequence_number: entry.enqueued_sequence,
            enqueued_time: entry.enqueued_at,
            locked_until: entry.lock.map(|lock| lock.until),
            expires_at: entry.expires_at,
            state: match (entry.state, entry.lock) {
                (_, Some(_)) => MessageState::Locked,
                (State::Active, None) => MessageState::Active,
                (State::Deferred, None) => MessageState::Deferred,
                (State::Scheduled, None) => MessageState::Scheduled,
            },
            dead_letter_reason: property(super::queue::REASON),
            dead_letter_description: property(super::queue::DESCRIPTION),
            properties,
        }
    }
}

impl QueueSnapshot {
    pub(super) fn add(&mut self, entry: &Entry) {
        let view = MessageView::of(entry);
        match view.state {
            MessageState::Active => self.active.push(view),
            MessageState::Locked => self.locked.push(view),
            MessageState::Scheduled => self.scheduled.push(view),
            MessageState::Deferred => self.deferred.push(view),
        }
    }
}

fn body_bytes(body: &Bytes) -> Bytes {
    let mut data = Vec::new();
    for section in section::iter(body) {
        match section {
            Ok((section::DATA, section)) => match section::data(&section) {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(_) => return body.clone(),
            },
            Ok((section::FOOTER, _)) => {}
            Ok((section::VALUE, section)) => match values::section_value(&section) {
                Ok(Value::String(text)) => return Bytes::from(text),
                Ok(Value::Binary(bytes)) => return Bytes::from(bytes.into_vec()),
                _ => return body.clone(),
            },
            _ => return body.clone(),
        }
    }
    Bytes::from(data)
}

fn to_json(value: &Value) -> serde_json::Value {
    if let Some(number) = values::integer(value) {
        return json!(number);
    }
    if let Some(text) = values::text(value) {
        return json!(text);
    }
    if let Some(moment) = values::moment(value) {
        return json!(moment.format(&Rfc3339).unwrap_or_default());
    }
    if let Some(id) = values::as_uuid(value) {
        return json!(id);
    }
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => json!(flag),
        Value::Ulong(number) => json!(number),
        Value::Float(number) => json!(number.into_inner()),
        Value::Double(number) => json!(number.into_inner()),
        Value::Char(letter) => json!(letter),
        Value::Binary(bytes) => json!(BASE64_STANDARD.encode(bytes)),
        other => json!(format!("{other:?}")),
    }
}
