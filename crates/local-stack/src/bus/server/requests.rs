//! Requests to `$cbs` and `$management` on their way to the nodes: what scripts make of them, and
//! whether the connection's tokens allow them.

use fe2o3_amqp_types::definitions::Error;

use super::context::Context;
use super::disturbed::Course;
use super::entity::Entity;
use super::request::{Reply, Request};
use super::{cbs, management};
use crate::bus::fault::Operation;
use crate::bus::queue::SubQueue;
use crate::bus::security::{Right, path};
use crate::bus::wire::Malformed;

/// Answers a request to `$cbs`, or not.
pub(super) fn put_token(ctx: &mut Context, request: &Request) -> Result<Option<Reply>, Malformed> {
    let entity = path(request.property("name").unwrap_or_default());
    let course = ctx.course(Operation::PutToken, &entity, None);
    if let Course::Refuse(reason) = course {
        let description = reason.description.clone().unwrap_or_default();
        return cbs::reply(request, status(&reason), description).map(Some);
    }
    answered(course, || cbs::answer(ctx, request))
}

/// Answers a request to the management node of `entity` or of its dead-letter queue, or not.
pub(super) fn manage(
    ctx: &mut Context,
    entity: &Entity,
    sub: SubQueue,
    request: &Request,
) -> Result<Option<Reply>, Malformed> {
    let operation = request.property("operation").unwrap_or_default();
    let course = ctx.course(Operation::Request, &entity.name, Some(operation));
    let refusal = match &course {
        Course::Refuse(reason) => Some(reason.clone()),
        Course::Ignore => None,
        _ => ctx.authorize(&entity.name, right(operation)).err(),
    };
    if let Some(reason) = refusal {
        return management::refuse(entity, sub, request, status(&reason), &reason).map(Some);
    }
    if let Course::LoseLock = course {
        management::lose_locks(entity, sub, request);
    }
    let holders = ctx.session_holders(request.property("associated-link-name"));
    answered(course, || {
        management::answer(entity, sub, request, &holders)
    })
}

fn answered(
    course: Course,
    answer: impl FnOnce() -> Result<Reply, Malformed>,
) -> Result<Option<Reply>, Malformed> {
    match course {
        Course::Ignore => Ok(None),
        Course::Mute => answer().map(|_| None),
        Course::Late(delay) => answer().map(|reply| Some(Reply { delay, ..reply })),
        Course::Usual | Course::LoseLock | Course::Refuse(_) => answer().map(Some),
    }
}

/// Scheduling is sending; everything else, rules included, is what receivers do (the .NET rule
/// manager's documentation asks for Listen).
fn right(operation: &str) -> Right {
    match operation {
        "com.microsoft:schedule-message" | "com.microsoft:cancel-scheduled-message" => Right::Send,
        _ => Right::Listen,
    }
}

/// The status that goes with a condition (azure-sdk-for-js, core-amqp `ConditionErrorNameMapper`).
fn status(reason: &Error) -> i32 {
    let condition = serde_amqp::to_value(&reason.condition).ok();
    match condition
        .as_ref()
        .and_then(crate::bus::wire::values::text)
        .unwrap_or_default()
    {
        "amqp:unauthorized-access" | "com.microsoft:auth-failed" => 401,
        "amqp:resource-limit-exceeded" => 403,
        "amqp:not-found" | "com.microsoft:message-not-found" => 404,
        "com.microsoft:timeout" => 408,
        "com.microsoft:message-lock-lost" | "com.microsoft:session-lock-lost" => 410,
        "com.microsoft:server-busy" => 503,
        "amqp:internal-error" => 500,
        _ => 400,
    }
}
