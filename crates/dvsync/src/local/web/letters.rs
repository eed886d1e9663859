//! Dead letters: what they say, and how they are sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use local_stack::bus::MessageView;
use local_stack::stack::{OUTBOUND, REJECTED, Stack};
use serde::Serialize;
use serde_json::Value;
use service_bus::{
    Client, Error, OutgoingMessage, ReceiveMode, ReceivedMessage, Receiver, Settlement,
    dead_letter_queue,
};
use sync_core::message::resent;
use sync_core::topic::TARGET_SYSTEM;
use tracing::warn;
use uuid::Uuid;

/// How many letters of each queue are shown.
const SHOWN: usize = 60;
/// Received at a time.
const PAGE: u32 = 50;
/// A letter that has not come by then is held by somebody else.
const PATIENCE: Duration = Duration::from_secs(3);

/// A dead letter, by what its dead-letter queue says of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Letter {
    /// The queue or subscription it was given up on.
    pub(super) queue: String,
    number: i64,
    correlation_id: Option<String>,
    table: Option<String>,
    row: Option<String>,
    reason: Option<String>,
    stage: Option<String>,
    code: Option<String>,
    status: Option<i64>,
    description: Option<String>,
}

impl Letter {
    fn of(queue: &str, message: MessageView) -> Self {
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        let body = |name: &str| Some(body.get(name)?.as_str()?.to_owned());
        let property = |name: &str| Some(message.properties.get(name)?.as_str()?.to_owned());
        Self {
            queue: queue.to_owned(),
            number: message.sequence_number,
            table: body("table"),
            row: body("sourceRowId"),
            stage: property("FailureStage"),
            code: property("FailureCode"),
            status: message
                .properties
                .get("FailureStatus")
                .and_then(Value::as_i64),
            correlation_id: message.correlation_id,
            reason: message.dead_letter_reason,
            description: message.dead_letter_description,
        }
    }

    pub(super) fn correlation_id(&self) -> Option<Uuid> {
        self.correlation_id.as_deref()?.parse().ok()
    }
}

/// The newest letters of each queue.
pub(super) fn list(stack: &Stack) -> Vec<Letter> {
    let mut letters = Vec::new();
    for queue in stack.entities().chain([REJECTED]) {
        let counts = stack.bus.counts(queue).unwrap_or_default();
        let rejected = queue == REJECTED;
        if counts.dead_letter == 0 && !(rejected && counts.active > 0) {
            continue;
        }
        let snapshot = stack.bus.snapshot(queue).unwrap_or_default();
        let messages = if rejected {
            snapshot.active
        } else {
            snapshot.dead_letter
        };
        let newest = messages.into_iter().rev().take(SHOWN);
        letters.extend(newest.map(|message| Letter::of(queue, message)));
    }
    letters
}

/// Where letters of one queue are, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// As [`Letter::queue`].
    pub(super) queue: String,
    from: String,
    to: String,
    /// The target that a subscription is for.
    target: Option<String>,
}

impl Place {
    fn of(queue: &str) -> Self {
        let (from, to, target) = match queue.split_once("/Subscriptions/") {
            Some((topic, target)) => (dead_letter_queue(queue), topic, Some(target.to_owned())),
            None if queue == REJECTED => (REJECTED.to_owned(), OUTBOUND, None),
            None => (dead_letter_queue(queue), queue, None),
        };
        Self {
            queue: queue.to_owned(),
            from,
            to: to.to_owned(),
            target,
        }
    }
}

/// All of a stack.
pub(super) fn places(stack: &Stack) -> Vec<Place> {
    let queues = stack.entities().chain([REJECTED]);
    let present = queues.filter(|queue| stack.bus.counts(queue).is_some());
    present.map(Place::of).collect()
}

/// Sends letters again, one of a number or all that are there now: send, then complete, so that a crash
/// in between leaves a duplicate and no hole. Returns how many.
pub(super) async fn resend(
    client: &Client,
    place: &Place,
    number: Option<i64>,
) -> Result<usize, Error> {
    // What is given up again meanwhile is not sent once more.
    let wanted = match number {
        Some(number) => BTreeSet::from([number]),
        None => numbers(client, &place.from).await?,
    };
    let mut receiver = client
        .receiver(&place.from, ReceiveMode::PeekLock, PAGE)
        .await?;
    let mut others = Vec::new();
    let sent = pick(client, &mut receiver, place, &wanted, &mut others).await;
    for letter in others {
        let back = Settlement::Abandon {
            properties: service_bus::Properties::new(),
        };
        if let Err(error) = receiver.settle(&letter, back).await {
            // Its lock ends all the same.
            warn!(%error, queue = place.from, "a dead letter was not given back");
        }
    }
    receiver.close().await?;
    sent
}

async fn numbers(client: &Client, from: &str) -> Result<BTreeSet<i64>, Error> {
    let mut numbers = BTreeSet::new();
    loop {
        let next = numbers.last().map_or(0, |last| last + 1);
        let page = client.peek(from, next, PAGE).await?;
        if page.is_empty() {
            return Ok(numbers);
        }
        numbers.extend(page.into_iter().map(|letter| letter.sequence_number));
    }
}

async fn pick(
    client: &Client,
    receiver: &mut Receiver,
    place: &Place,
    wanted: &BTreeSet<i64>,
    others: &mut Vec<ReceivedMessage>,
) -> Result<usize, Error> {
    let mut sent = 0;
    while sent < wanted.len() {
        let page = receiver.receive(PAGE as usize, PATIENCE).await?;
        if page.is_empty() {
            break;
        }
        for letter in page {
            if !wanted.contains(&letter.sequence_number) {
                others.push(letter);
                continue;
            }
            client.send(&place.to, again(&letter, place)).await?;
            receiver.settle(&letter, Settlement::Complete).await?;
            sent += 1;
        }
    }
    Ok(sent)
}

fn again(letter: &ReceivedMessage, place: &Place) -> OutgoingMessage {
    let mut properties = letter.properties.clone();
    if let Some(target) = &place.target {
        // A letter that the broker gave up by itself does not say for whom it is.
        let own = || target.as_str().into();
        properties
            .entry(TARGET_SYSTEM.to_owned())
            .or_insert_with(own);
    }
    let copy = OutgoingMessage {
        body: letter.body.clone(),
        message_id: letter.message_id.clone(),
        correlation_id: letter.correlation_id.clone(),
        session_id: letter.session_id.clone(),
        content_type: letter.content_type.clone(),
        subject: letter.subject.clone(),
        properties,
        ..OutgoingMessage::default()
    };
    resent(copy, letter.lock_token.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use local_stack::bus::{Broker, BrokerConfig};
    use service_bus::ClientOptions;

    use super::*;

    #[test]
    fn a_letter_goes_back_to_where_it_came_from() {
        let place = Place::of("outbound/Subscriptions/warehouse");
        assert_eq!(place.to, "outbound");
        assert_eq!(place.target.as_deref(), Some("warehouse"));
        assert_eq!(Place::of(REJECTED).from, REJECTED);
        assert_eq!(Place::of(REJECTED).to, OUTBOUND);
        assert_eq!(Place::of("inbound").from, "inbound/$deadletterqueue");
    }

    /// Three letters in the dead-letter queue of `q`, by their numbers.
    async fn three_letters(client: &Client) -> Vec<i64> {
        for id in ["a", "b", "c"] {
            let message = OutgoingMessage {
                message_id: Some(id.to_owned()),
                ..OutgoingMessage::new(id)
            };
            client.send("q", message).await.unwrap();
        }
        let mode = ReceiveMode::PeekLock;
        let mut receiver = client.receiver("q", mode, 3).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < 3 {
            let messages = receiver.receive(3, Duration::from_secs(30)).await.unwrap();
            for message in messages {
                let settlement = Settlement::DeadLetter {
                    reason: "Target422".into(),
                    description: "Refused.".into(),
                    properties: service_bus::Properties::new(),
                };
                receiver.settle(&message, settlement).await.unwrap();
                taken.push(message.sequence_number);
            }
        }
        receiver.close().await.unwrap();
        taken
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_letter_is_resent_and_the_others_stay_until_all_are() {
        let broker = Broker::start(BrokerConfig::with_queues(["q"]))
            .await
            .unwrap();
        let options = ClientOptions::default();
        let client = Client::from_connection_string(&broker.connection_string(), options).unwrap();
        let letters = three_letters(&client).await;
        let place = Place::of("q");
        let sent = resend(&client, &place, Some(letters[1])).await.unwrap();
        assert_eq!(sent, 1);
        let queue = broker.snapshot("q").unwrap();
        assert_eq!((queue.active.len(), queue.dead_letter.len()), (1, 2));
        let copy = &queue.active[0];
        assert_eq!(copy.properties["OriginalMessageId"], "b");
        assert_eq!(copy.dead_letter_reason.as_deref(), Some("Target422"));
        assert_ne!(copy.message_id, "b");
        assert_eq!(resend(&client, &place, None).await.unwrap(), 2);
        let counts = broker.counts("q").unwrap();
        assert_eq!((counts.active, counts.dead_letter), (3, 0));
        client.close().await;
    }
}
