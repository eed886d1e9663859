//! Receiving, without ever being given a message.

use service_bus::{
    Client, Error, ErrorClass, Properties, ReceiveMode, Settlement, dead_letter_queue,
};
use sync_core::topic::{Verdict, expression, judge};
use uuid::Uuid;

use super::entity::{Listen, Need};
use super::{BUS, grant, is_not_allowed, lacks_right};
use crate::check::live::line::Line;

pub(super) async fn check(
    client: &Client,
    need: &Need,
    listen: &Listen,
    by_identity: bool,
) -> Vec<Line> {
    let path = &listen.path;
    if let Err(error) = attach(client, path, need.sessions).await {
        return vec![refused(client, need, listen, &error, by_identity).await];
    }
    let how = if need.sessions {
        "a session without messages was held"
    } else {
        "a link without credit was attached"
    };
    let mut lines = vec![BUS.ok(format!("{path}: receive"), how)];
    let dead_letters = dead_letter_queue(path);
    for (entity, what) in [(path, "peek"), (&dead_letters, "dead letters")] {
        let check = format!("{path}: {what}");
        lines.push(match client.peek(entity, 0, 1).await {
            Ok(messages) if messages.is_empty() => BUS.ok(check, "none there"),
            Ok(_) => BUS.ok(check, "some there"),
            Err(error) => BUS.wrong(
                check,
                "PeekRefused",
                error.to_string(),
                grant(
                    by_identity,
                    "Azure Service Bus Data Receiver",
                    "Listen",
                    path,
                ),
            ),
        });
    }
    // With sessions a lock belongs to its holder's link; the app copies to REJECTED_QUEUE instead.
    if !need.sessions {
        lines.push(settle(client, path).await);
    }
    if let Some(target) = &listen.target {
        lines.push(rules(client, path, target).await);
    }
    lines
}

async fn attach(client: &Client, path: &str, sessions: bool) -> Result<(), Error> {
    if sessions {
        let id = format!("dvsync-check-{}", Uuid::new_v4());
        client.accept_session(path, &id, 1).await?.close().await
    } else {
        let receiver = client.receiver(path, ReceiveMode::PeekLock, 1).await?;
        receiver.close().await
    }
}

/// Nothing has this lock token: who may settle is told so, and who may not is refused.
async fn settle(client: &Client, path: &str) -> Line {
    let check = format!("{path}: settle by lock token");
    let nobodys = Uuid::new_v4();
    let abandon = Settlement::Abandon {
        properties: Properties::default(),
    };
    match client.settle(path, nobodys, abandon).await {
        Err(error) if matches!(error.class(), ErrorClass::LockLost | ErrorClass::NotFound) => {
            BUS.ok(check, "asked for with an unknown token, and understood")
        }
        Err(error) => BUS.wrong(
            check,
            "SettleRefused",
            error.to_string(),
            "line 1 of docs/azure-assumptions.md: dead letters would come by MaxDeliveryCount only; report what is said here",
        ),
        Ok(()) => BUS.not_checked(check, "an unknown token was settled, which says nothing"),
    }
}

async fn rules(client: &Client, path: &str, target: &str) -> Line {
    let check = format!("{path}: rules");
    let wanted = expression(target);
    match client.rules(path).await.map(|rules| judge(&rules, target)) {
        Ok(Verdict::Fits) => BUS.ok(check, format!("fit targetSystem {target}")),
        Ok(Verdict::CannotTell { rules }) => BUS.not_checked(
            check,
            format!("whether they fit targetSystem {target} cannot be told: {rules}. \"{wanted}\" would be sure"),
        ),
        Ok(Verdict::Wrong { problem, rules }) => BUS.wrong(
            check,
            "RulesWrong",
            format!("the subscription {problem} (targetSystem {target}): {rules}"),
            format!("delete the rules at fault, and create one with --filter-sql-expression \"{wanted}\" (`az servicebus topic subscription rule`)"),
        ),
        Err(error) => BUS.not_checked(check, error.to_string()),
    }
}

async fn refused(
    client: &Client,
    need: &Need,
    listen: &Listen,
    error: &Error,
    by_identity: bool,
) -> Line {
    let path = &listen.path;
    let check = format!("{path}: receive");
    let is_subscription = listen.target.is_some();
    match error.class() {
        ErrorClass::NotFound if is_subscription => missing_subscription(client, need, path).await,
        ErrorClass::NotFound => super::entity::missing(need),
        ErrorClass::Unauthorized if lacks_right(error) => BUS.wrong(
            check,
            "NoListenRight",
            format!("the app may not receive from {path}"),
            grant(
                by_identity,
                "Azure Service Bus Data Receiver",
                "Listen",
                path,
            ),
        ),
        _ if is_not_allowed(error) => {
            let about_sessions = error.to_string().to_lowercase().contains("session");
            match (about_sessions, need.sessions) {
                (true, false) => needs_sessions(path),
                (true, true) => BUS.wrong(
                    check,
                    "SessionsOff",
                    format!("SESSIONS=true, but {path} has no sessions"),
                    format!("create {path} anew with sessions, which cannot be turned on later (`az servicebus queue create --enable-session true`), or set SESSIONS=false"),
                ),
                (false, _) => BUS.wrong(
                    check,
                    "NotReceivable",
                    format!("nothing can be received from {path}: it is a topic, or forwards its messages"),
                    "if it is a topic, set OUTBOUND_TOPIC and OUTBOUND_SUBSCRIPTION instead of OUTBOUND_QUEUE; if it forwards, name the queue that it forwards to",
                ),
            }
        }
        _ => BUS.wrong(
            check,
            "ReceiveRefused",
            error.to_string(),
            "look at the entity's state and at the namespace's firewall in the portal",
        ),
    }
}

/// Sessions where none are meant.
pub(super) fn needs_sessions(path: &str) -> Line {
    BUS.wrong(
        format!("{path}: sessions"),
        "SessionsOn",
        format!("{path} has sessions, but SESSIONS is not true"),
        format!("set SESSIONS=true in both apps (with REJECTED_QUEUE, and isSessionsEnabled in function.json), or create {path} anew without sessions"),
    )
}

/// Of what is no topic there are no subscriptions either.
async fn missing_subscription(client: &Client, need: &Need, path: &str) -> Line {
    let topic = &need.entity;
    if attach(client, topic, false).await.is_ok() {
        return BUS.wrong(
            topic,
            "QueueNotTopic",
            format!("{topic} is a queue, but named as a topic"),
            "set OUTBOUND_QUEUE instead of OUTBOUND_TOPIC and OUTBOUND_SUBSCRIPTION, or name the topic",
        );
    }
    BUS.wrong(
        path,
        "SubscriptionMissing",
        format!("the topic {topic} has no such subscription"),
        format!("create it with `az servicebus topic subscription create --topic-name {topic}`, or correct OUTBOUND_SUBSCRIPTION"),
    )
}
