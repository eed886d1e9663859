//! Sending, by messages that are scheduled and cancelled; on the way, whether duplicates are folded.

use std::time::Duration;

use service_bus::{Client, Error, ErrorClass, OutgoingMessage};
use time::OffsetDateTime;
use uuid::Uuid;

use super::entity::{self, Need};
use super::{BUS, grant, is_not_allowed, lacks_right};
use crate::check::live::line::Line;

/// Far enough for somebody to cancel what could not be cancelled here.
const LATER: Duration = Duration::from_secs(7 * 86_400);

pub(super) async fn check(client: &Client, need: &Need, by_identity: bool) -> Vec<Line> {
    let entity = &need.entity;
    let id = format!("dvsync-check-{}", Uuid::new_v4());
    let mut lines = Vec::new();
    let mut numbers = Vec::new();
    // Twice the same id: where duplicates are detected, the second is taken and dropped.
    for _ in 0..if need.folds { 2 } else { 1 } {
        match client
            .schedule(entity, vec![scratch(&id, need.sessions)])
            .await
        {
            Ok(given) => numbers.extend(given),
            Err(error) => {
                lines.push(refused(need, &error, by_identity));
                break;
            }
        }
    }
    let was_sent = lines.is_empty();
    // A dropped message has no number of its own: 0, or the first one's.
    numbers.retain(|number| *number != 0);
    numbers.dedup();
    let mut kept = 0;
    for number in numbers {
        match client.cancel_scheduled(entity, &[number]).await {
            Ok(()) => kept += 1,
            Err(error) if error.class() == ErrorClass::NotFound => {}
            Err(error) => lines.push(BUS.wrong(
                format!("{entity}: cancel"),
                "ScratchLeft",
                format!("the scheduled message {number}, with id {id}, could not be cancelled: {error}"),
                "cancel it in Service Bus Explorer within seven days; after that the app receives and dead-letters it",
            )),
        }
    }
    if !was_sent || !lines.is_empty() {
        return lines;
    }
    lines.push(BUS.ok(format!("{entity}: send"), "scheduled and cancelled"));
    if need.folds {
        let check = format!("{entity}: duplicate detection");
        lines.push(match kept {
            2.. => BUS.wrong(
                check,
                "NoDuplicateDetection",
                "two messages with one MessageId were both kept: a send that is repeated would arrive twice",
                format!("create {entity} anew with duplicate detection, which cannot be turned on later; infra/ does"),
            ),
            _ => BUS.ok(check, "the second message of one id was dropped"),
        });
    }
    lines
}

fn scratch(id: &str, session: bool) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Some(id.to_owned()),
        session_id: session.then(|| id.to_owned()),
        subject: Some("dvsync check --live".to_owned()),
        scheduled_enqueue_time: Some(OffsetDateTime::now_utc() + LATER),
        ..OutgoingMessage::new("a trial of dvsync check --live, to be cancelled at once")
    }
}

fn refused(need: &Need, error: &Error, by_identity: bool) -> Line {
    let entity = &need.entity;
    let check = format!("{entity}: send");
    match error.class() {
        ErrorClass::NotFound => entity::missing(need),
        ErrorClass::Unauthorized if lacks_right(error) => BUS.wrong(
            check,
            "NoSendRight",
            format!("the app may not send to {entity}"),
            grant(by_identity, "Azure Service Bus Data Sender", "Send", entity),
        ),
        _ if is_not_allowed(error) && error.to_string().to_lowercase().contains("session") => {
            super::listen::needs_sessions(entity)
        }
        _ if error.condition() == Some("com.microsoft:entity-disabled") => BUS.wrong(
            check,
            "EntityDisabled",
            format!("{entity} is disabled"),
            format!("enable it: `az servicebus queue update -n {entity} --status Active`"),
        ),
        _ if error.condition() == Some("amqp:resource-limit-exceeded") => BUS.wrong(
            check,
            "EntityFull",
            format!("{entity} is full"),
            "empty its dead-letter queue, which counts too, or raise its size",
        ),
        _ => BUS.wrong(
            check,
            "SendRefused",
            error.to_string(),
            "look at the entity's state and at the namespace's firewall in the portal",
        ),
    }
}
