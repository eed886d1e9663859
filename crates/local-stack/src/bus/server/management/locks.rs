//! Locks by token: settle and renew. Neither cares which link or connection got the lock, except on
//! an entity with sessions, where only the holder of the session may settle.

use serde_amqp::Value;
use serde_amqp::primitives::Array;

use super::answer::{Answer, Refusal};
use super::body::Body;
use super::sessions::umbrella;
use crate::bus::queue::SubQueue;
use crate::bus::queue::settle::{SettleError, Settlement};
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::server::entity::Entity;
use crate::bus::wire::values;

/// `renew-lock`: the new ends of the locks, in the order of the tokens.
pub(super) fn renew(entity: &Entity, sub: SubQueue, body: &Body<'_>) -> Result<Answer, Refusal> {
    let tokens = body.uuids("lock-tokens")?;
    if entity.with(|queue, _| queue.has_sessions(sub)) {
        let text = "the locks of messages in a session are renewed with the session's";
        return Err(Refusal::not_allowed(text));
    }
    let ends = entity.with(|queue, now| {
        let renew = |token| queue.renew(sub, token, now).map(values::timestamp);
        tokens
            .into_iter()
            .map(renew)
            .collect::<Result<Vec<Value>, SettleError>>()
    })?;
    Ok(Answer::with("expirations", Value::Array(Array::from(ends))))
}

/// `update-disposition`: settles all the tokens' messages, or none.
pub(super) fn settle(
    entity: &Entity,
    sub: SubQueue,
    body: &Body<'_>,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let tokens = body.uuids("lock-tokens")?;
    let properties = body.properties("properties-to-modify");
    let settlement = match body.text("disposition-status").unwrap_or_default() {
        "completed" => Settlement::Complete,
        "abandoned" => Settlement::Abandon { properties },
        // Spelt like this by every client.
        "defered" => Settlement::Defer { properties },
        "suspended" => Settlement::DeadLetter {
            reason: body.text("deadletter-reason").map(str::to_owned),
            description: body.text("deadletter-description").map(str::to_owned),
            properties,
        },
        other => {
            let text = format!("the disposition-status '{other}' is not known");
            return Err(Refusal::bad_argument(text));
        }
    };
    entity.with(|queue, now| {
        let session = umbrella(queue, sub, body, holders, now)?.map(|(id, _)| id);
        if !queue.holds(sub, session, &tokens, now) {
            return Err(SettleError::LockLost.into());
        }
        tokens
            .iter()
            .try_for_each(|token| queue.settle(sub, *token, &settlement, now))
            .map_err(Refusal::from)
    })?;
    Ok(Answer::ok())
}
