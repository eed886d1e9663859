//! One message as the data file holds it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_amqp::Value;
use time::OffsetDateTime;

use crate::bus::queue::departures::Journey;
use crate::bus::queue::entry::{Entry, State};
use crate::bus::queue::message::Message;
use crate::bus::wire::section;
use crate::bus::wire::values;

/// A row that cannot be read, or a value that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(super) String);

/// Everything of an [`Entry`] but its number, which is the key, and its lock. Moments are in
/// milliseconds since 1970, as AMQP counts them.
#[derive(Serialize, Deserialize)]
struct Record {
    enqueued_sequence: i64,
    enqueued_at: i64,
    delivery_count: u32,
    state: u8,
    due_at: Option<i64>,
    expires_at: Option<i64>,
    durable: bool,
    priority: u8,
    ttl_ms: Option<u64>,
    /// An AMQP section.
    annotations: Bytes,
    properties: Bytes,
    application_properties: Bytes,
    body: Bytes,
    id: String,
    session: Option<String>,
    scheduled_for: Option<i64>,
    hops: u32,
    origin: Option<i64>,
}

/// # Errors
/// When an annotation cannot be encoded.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, Unreadable> {
    let message = &entry.message;
    let annotations = Value::Map((*message.annotations).clone());
    let annotations = values::section(section::MESSAGE_ANNOTATIONS, annotations);
    let ttl_ms = message.ttl.map(|ttl| ttl.as_millis());
    to_bytes(&Record {
        enqueued_sequence: entry.enqueued_sequence,
        enqueued_at: millis(entry.enqueued_at),
        delivery_count: entry.delivery_count,
        state: match entry.state {
            State::Active => 0,
            State::Deferred => 1,
            State::Scheduled => 2,
        },
        due_at: entry.due_at.map(millis),
        expires_at: entry.expires_at.map(millis),
        durable: message.durable,
        priority: message.priority,
        ttl_ms: ttl_ms.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
        annotations: annotations
            .map_err(|error| Unreadable(error.to_string()))?
            .into(),
        properties: message.properties.clone(),
        application_properties: message.application_properties.clone(),
        body: message.body.clone(),
        id: message.id.to_string(),
        session: message.session.as_deref().map(str::to_owned),
        scheduled_for: message.scheduled_for.map(millis),
        hops: message.journey.hops,
        origin: message.journey.origin,
    })
}

/// # Errors
/// When the bytes are not what [`encode`] writes.
pub(super) fn decode(sequence: i64, bytes: &[u8]) -> Result<Entry, Unreadable> {
    let record: Record = from_bytes(bytes)?;
    let annotations = values::section_map(&record.annotations);
    Ok(Entry {
        sequence,
        enqueued_sequence: record.enqueued_sequence,
        enqueued_at: moment(record.enqueued_at)?,
        delivery_count: record.delivery_count,
        state: match record.state {
            0 => State::Active,
            1 => State::Deferred,
            2 => State::Scheduled,
            other => {
                return Err(Unreadable(format!(
                    "a message in the unknown state {other}"
                )));
            }
        },
        lock: None,
        due_at: record.due_at.map(moment).transpose()?,
        expires_at: record.expires_at.map(moment).transpose()?,
        message: Message {
            durable: record.durable,
            priority: record.priority,
            ttl: record.ttl_ms.map(Duration::from_millis),
            annotations: Arc::new(annotations.map_err(|error| Unreadable(error.to_string()))?),
            properties: record.properties,
            application_properties: record.application_properties,
            body: record.body,
            id: record.id.into(),
            session: record.session.map(Arc::from),
            scheduled_for: record.scheduled_for.map(moment).transpose()?,
            journey: Journey {
                hops: record.hops,
                origin: record.origin,
            },
        },
    })
}

pub(super) fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>, Unreadable> {
    postcard::to_stdvec(value).map_err(|error| Unreadable(error.to_string()))
}

pub(super) fn from_bytes<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, Unreadable> {
    postcard::from_bytes(bytes).map_err(|error| Unreadable(error.to_string()))
}

pub(super) fn millis(moment: OffsetDateTime) -> i64 {
    let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(millis).unwrap_or(i64::MAX)
}

pub(super) fn moment(millis: i64) -> Result<OffsetDateTime, Unreadable> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_err(|error| Unreadable(error.to_string()))
}
