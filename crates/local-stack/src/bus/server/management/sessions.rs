//! Sessions: renew, state, list (Azure doc "AMQP 1.0 in Azure Service Bus: request-response-based
//! operations", session operations).

use bytes::Bytes;
use serde_amqp::Value;
use serde_amqp::primitives::{Array, Binary};
use time::OffsetDateTime;

use super::answer::{Answer, Refusal};
use super::body::Body;
use crate::bus::queue::session_requests::SessionError;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::queue::{Queue, SubQueue};
use crate::bus::server::entity::Entity;
use crate::bus::wire::values;

/// From this year on, and where the calendar ends, `last-updated-time` means that the time does not
/// matter: clients send .NET's last moment or the one after it.
const NO_TIME: i32 = 9999;

/// The session a request works in, and when its lock ends. On an entity with sessions there must be
/// one, and the request must come from whoever holds it.
pub(super) fn umbrella<'b>(
    queue: &mut Queue,
    sub: SubQueue,
    body: &Body<'b>,
    holders: &[ConsumerId],
    now: OffsetDateTime,
) -> Result<Option<(&'b str, OffsetDateTime)>, SessionError> {
    if !queue.has_sessions(sub) {
        return Ok(None);
    }
    let id = body.text("session-id").ok_or(SessionError::LockLost)?;
    let until = queue.session_held(id, holders, now)?;
    Ok(Some((id, until)))
}

/// `renew-session-lock`.
pub(super) fn renew(
    entity: &Entity,
    body: &Body<'_>,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let id = session_id(body)?;
    let until = entity.with(|queue, now| queue.renew_session(id, holders, now))?;
    Ok(Answer::with("expiration", values::timestamp(until)))
}

/// `get-session-state`.
pub(super) fn get_state(
    entity: &Entity,
    body: &Body<'_>,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let id = session_id(body)?;
    let state = entity.with(|queue, now| queue.session_state(id, holders, now))?;
    let state = state.map_or(Value::Null, |bytes| {
        Value::Binary(Binary::from(bytes.to_vec()))
    });
    Ok(Answer::with("session-state", state))
}

/// `set-session-state`.
pub(super) fn set_state(
    entity: &Entity,
    body: &Body<'_>,
    holders: &[ConsumerId],
) -> Result<Answer, Refusal> {
    let id = session_id(body)?;
    let state = match body.get("session-state") {
        None => None,
        Some(Value::Binary(bytes)) => Some(Bytes::copy_from_slice(bytes)),
        Some(Value::String(text)) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Some(_) => return Err(Refusal::bad_argument("a session-state that is not binary")),
    };
    entity.with(|queue, now| queue.set_session_state(id, state, holders, now))?;
    Ok(Answer::ok())
}

/// `get-message-sessions`.
pub(super) fn list(entity: &Entity, body: &Body<'_>) -> Result<Answer, Refusal> {
    let skip = usize::try_from(body.integer("skip")?).unwrap_or(0);
    let top = usize::try_from(body.integer("top")?).unwrap_or(0);
    let after = body
        .get("last-updated-time")
        .and_then(values::moment)
        .filter(|after| after.year() < NO_TIME);
    let sessions = entity.with(|queue, now| queue.list_sessions(after, now));
    let page: Vec<Value> = sessions
        .iter()
        .skip(skip)
        .take(top)
        .map(|id| Value::String(id.to_string()))
        .collect();
    if page.is_empty() {
        return Ok(Answer::nothing());
    }
    let skipped = Value::Int(i32::try_from(skip).unwrap_or(i32::MAX));
    Ok(Answer::with("sessions-ids", Value::Array(Array::from(page))).and("skip", skipped))
}

fn session_id<'b>(body: &Body<'b>) -> Result<&'b str, Refusal> {
    body.text("session-id")
        .ok_or_else(|| Refusal::bad_argument("the request has no 'session-id' that is a string"))
}
