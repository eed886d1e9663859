//! Messages by number: peek, schedule, cancel, receive deferred ones.

use serde_amqp::Value;
use serde_amqp::primitives::{Array, Binary};
use uuid::Uuid;

use super::answer::{Answer, Refusal};
use super::body::Body;
use super::sessions::umbrella;
use crate::bus::queue::QueueFull;
use crate::bus::queue::SubQueue;
use crate::bus::queue::entry::Entry;
use crate::bus::queue::message::Message;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::server::entity::Entity;
use crate::bus::server::failure::{NO_SESSION_ID, queue_full};
use crate::bus::wire::delivery;
use crate::bus::wire::values::{self, Map};

/// What a peek returns at most in one answer, in bytes, unless the first message alone is larger.
const PEEK_SIZE: usize = 512 * 1024;
/// Receiver settle mode `first`: the message is deleted when it is received.
const DELETE: i64 = 0;

/// `peek-message`.
pub(super) fn peek(entity: &Entity, sub: SubQueue, body: &Body<'_>) -> Result<Answer, Refusal> {
    let from = body.integer("from-sequence-number")?;
    let count = usize::try_from(body.integer("message-count")?).unwrap_or(0);
    let session = body.text("session-id");
    let entries = entity.with(|queue, now| queue.peek(sub, session, from, count, now));
    let mut messages = Vec::new();
    let mut size = 0;
    for entry in entries {
        let message = delivery::encode(&entry)?;
        size += message.len();
        if size > PEEK_SIZE && !messages.is_empty() {
            break;
        }
        messages.push(member(
            "message",
            Value::Binary(Binary::from(message.to_vec())),
        ));
    }
    if messages.is_empty() {
        return Ok(Answer::nothing());
    }
    let messages = messages.into_iter().map(Value::Map).collect();
    Ok(Answer::with("messages", Value::List(messages)))
}

/// `schedule-message`: all of them, or none.
pub(super) fn schedule(entity: &Entity, sub: SubQueue, body: &Body<'_>) -> Result<Answer, Refusal> {
    if sub == SubQueue::DeadLetter {
        return Err(Refusal::not_allowed(
            "messages cannot be sent to a dead-letter queue",
        ));
    }
    let mut messages = Vec::new();
    for item in body.list("messages")? {
        let encoded = Body::inside(&item)?.binary("message")?;
        let message = Message::parse(&encoded, &mut Uuid::new_v4)?;
        if message.scheduled_for.is_none() {
            let text = "a message without the annotation x-opt-scheduled-enqueue-time";
            return Err(Refusal::bad_argument(text));
        }
        messages.push(message);
    }
    let has_sessions = entity.with(|queue, _| queue.has_sessions(sub));
    if has_sessions && messages.iter().any(|message| message.session.is_none()) {
        return Err(Refusal::not_allowed(NO_SESSION_ID));
    }
    let elsewhere = entity.size_of_subscriptions();
    let numbers = entity
        .with(|queue, now| {
            queue.check_room(elsewhere)?;
            let schedule = |message| Value::Long(queue.enqueue(message, now).unwrap_or(0));
            Ok(messages.into_iter().map(schedule).collect::<Vec<Value>>())
        })
        .map_err(|full: QueueFull| Refusal::of(403, &queue_full(entity, &full)))?;
    Ok(Answer::with(
        "sequence-numbers",
        Value::Array(Array::from(numbers)),
    ))
}

/// `cancel-scheduled-message`.
pub(super) fn cancel_scheduled(entity: &Entity, body: &Body<'_>) -> Result<Answer, Refusal> {
    let numbers = body.integers("sequence-numbers")?;
    entity.with(|queue, now| queue.cancel_scheduled(&numbers, now))?;
    Ok(Answer::ok())
}

/// `receive-by-sequence-number`, for deferred messages.
pub(super) fn receive_deferred(
    entity: &Entity,
    sub: SubQueue,
    body: &Body<'_>,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let numbers = body.integers("sequence-numbers")?;
    let is_delete = body.integer("receiver-settle-mode")? == DELETE;
    let entries = entity.with(|queue, now| {
        let session = umbrella(queue, sub, body, holders, now)?;
        let found = if is_delete {
            let session = session.map(|(id, _)| id);
            queue.take_deferred(sub, session, &numbers, now)
        } else {
            queue.lock_deferred(sub, session, &numbers, &mut Uuid::new_v4, now)
        };
        found.map_err(Refusal::from)
    })?;
    let messages = entries
        .iter()
        .map(received)
        .collect::<Result<Vec<Value>, Refusal>>()?;
    Ok(Answer::with("messages", Value::List(messages)))
}

fn received(entry: &Entry) -> Result<Value, Refusal> {
    let message = delivery::encode(entry)?;
    let mut map = member("message", Value::Binary(Binary::from(message.to_vec())));
    let token = entry.lock.map_or(Uuid::nil(), |lock| lock.token);
    map.insert(Value::String("lock-token".into()), values::uuid(token));
    Ok(Value::Map(map))
}

fn member(name: &str, value: Value) -> Map {
    let mut map = Map::new();
    map.insert(Value::String(name.to_owned()), value);
    map
}
