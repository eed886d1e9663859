//! `<entity>/$management`: operations beside the message flow (Azure doc "AMQP 1.0 in Azure Service
//! Bus: request-response-based operations").

mod answer;
mod body;
mod locks;
mod messages;
mod sessions;

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
    let node = Address::Entity {
        name: entity.name.to_lowercase(),
        sub,
        management: true,
    };
    request.reply(node, properties, Value::Map(body))
}

fn operate(
    entity: &Entity,
    sub: SubQueue,
    request: &Request,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let operation = request.property("operation").unwrap_or_default();
    let body = Body::of(request);
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
        // Rules would follow here.
        _ => Err(Refusal::not_implemented(operation)),
    }
}
