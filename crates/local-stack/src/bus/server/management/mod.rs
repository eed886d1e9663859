//! `<entity>/$management`: operations beside the message flow (Azure doc "AMQP 1.0 in Azure Service
//! Bus: request-response-based operations").

mod answer;
mod body;
mod locks;
mod messages;
mod rules;
mod sessions;

use fe2o3_amqp_types::definitions::Error;
use serde_amqp::Value;

use self::answer::{Answer, Refusal};
use self::body::Body;
use super::address::Address;
use super::entity::Entity;
use super::request::{Reply, Request};
use crate::bus::queue::SubQueue;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::wire::Malformed;

/// Answers one request to the management node of `entity`, or of its dead-letter queue. `holders`
/// are the session receivers it may speak for.
pub(super) fn answer(
    entity: &Entity,
    sub: SubQueue,
    request: &Request,
    holders: &[ConsumerId],
) -> Result<Reply, Malformed> {
    let outcome = operate(entity, sub, request, holders);
    let (properties, body) = match outcome {
        Ok(answer) => answer.into_parts(),
        Err(refusal) => refusal.into_parts(),
    };
    request.reply(node(entity, sub), properties, Value::Map(body))
}

/// Refuses a request without looking at it further.
pub(super) fn refuse(
    entity: &Entity,
    sub: SubQueue,
    request: &Request,
    status: i32,
    reason: &Error,
) -> Result<Reply, Malformed> {
    let (properties, body) = Refusal::of(status, reason).into_parts();
    request.reply(node(entity, sub), properties, Value::Map(body))
}

/// Ends the locks that a request names, those of a session and of messages.
pub(super) fn lose_locks(entity: &Entity, sub: SubQueue, request: &Request) {
    let body = Body::of(request);
    let tokens = body.uuids("lock-tokens").unwrap_or_default();
    entity.with(|queue, now| {
        if let Some(session) = body.text("session-id") {
            queue.lose_session(session, now);
        }
        for token in tokens {
            queue.lose_lock(sub, token, now);
        }
    });
}

fn node(entity: &Entity, sub: SubQueue) -> Address {
    Address::Entity {
        name: entity.name.to_lowercase(),
        sub,
        management: true,
    }
}

fn operate(
    entity: &Entity,
    sub: SubQueue,
    request: &Request,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let operation = request.property("operation").unwrap_or_default();
    let body = Body::of(request);
    fits(entity, operation)?;
    match operation.strip_prefix("com.microsoft:").unwrap_or_default() {
        "peek-message" => messages::peek(entity, sub, &body),
        "schedule-message" => messages::schedule(entity, sub, &body),
        "cancel-scheduled-message" => messages::cancel_scheduled(entity, &body),
        "receive-by-sequence-number" => messages::receive_deferred(entity, sub, &body, holders),
        "renew-lock" => locks::renew(entity, sub, &body),
        "update-disposition" => locks::settle(entity, sub, &body, holders),
        "renew-session-lock" => sessions::renew(entity, &body, holders),
        "get-session-state" => sessions::get_state(entity, &body, holders),
        "set-session-state" => sessions::set_state(entity, &body, holders),
        "get-message-sessions" => sessions::list(entity, &body),
        "add-rule" => rules::add(entity, &body),
        "remove-rule" => rules::remove(entity, &body),
        "enumerate-rules" => rules::list(entity, &body),
        _ => Err(Refusal::not_implemented(operation)),
    }
}

/// Refuses what makes no sense for a topic or a subscription: each is only half a queue.
fn fits(entity: &Entity, operation: &str) -> Result<(), Refusal> {
    const SENDING: [&str; 2] = ["schedule-message", "cancel-scheduled-message"];
    let name = operation.strip_prefix("com.microsoft:").unwrap_or_default();
    let is_sending = SENDING.contains(&name);
    let what = if entity.is_topic() && !is_sending && name != "peek-message" {
        "a topic, whose messages are in its subscriptions"
    } else if entity.rules().is_some() && is_sending {
        "a subscription, which gets its messages from its topic"
    } else {
        return Ok(());
    };
    let text = format!("the operation '{operation}' is not for {what}");
    Err(Refusal::not_allowed(text))
}
