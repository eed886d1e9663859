//! The `service-bus` client against the local broker.

// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used)]

mod receiving;
mod reconnecting;
mod scheduling;
mod sending;
mod sessions;
mod settling;
mod topics;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use local_stack::bus::{Broker, BrokerConfig, QueueConfig, QueueCounts};
use service_bus::{
    Client, ClientOptions, OutgoingMessage, Properties, ReceiveMode, ReceivedMessage, Settlement,
};

/// Long enough for whatever is certain to happen.
const SOON: Duration = Duration::from_secs(10);
/// Long enough for what is under way to arrive, where the test is that nothing does.
const A_MOMENT: Duration = Duration::from_millis(300);

/// A broker with the queue `orders`, and a client of it.
async fn stack() -> (Broker, Client) {
    stack_with(QueueConfig::named("orders")).await
}

async fn stack_with(queue: QueueConfig) -> (Broker, Client) {
    let broker = Broker::start(BrokerConfig::new([queue])).await.unwrap();
    let client = client_of(&broker);
    (broker, client)
}

fn client_of(broker: &Broker) -> Client {
    let text = broker.connection_string();
    Client::from_connection_string(&text, ClientOptions::default()).unwrap()
}

fn message(id: &str) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Some(id.into()),
        ..OutgoingMessage::new(format!("body of {id}"))
    }
}

fn message_at(id: &str, from_now: Duration) -> OutgoingMessage {
    OutgoingMessage {
        scheduled_enqueue_time: Some((SystemTime::now() + from_now).into()),
        ..message(id)
    }
}

async fn send(client: &Client, ids: &[&str]) {
    for id in ids {
        client.send("orders", message(id)).await.unwrap();
    }
}

/// One message, locked by a receiver of its own, which stays open.
async fn lock_one(client: &Client) -> (service_bus::Receiver, ReceivedMessage) {
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 1)
        .await
        .unwrap();
    let message = receive_one(&mut receiver).await;
    (receiver, message)
}

async fn receive_one(receiver: &mut service_bus::Receiver) -> ReceivedMessage {
    let mut messages = receiver.receive(1, SOON).await.unwrap();
    assert_eq!(messages.len(), 1, "nothing came");
    messages.remove(0)
}

/// Receives until as many messages have come.
async fn receive_all(receiver: &mut service_bus::Receiver, count: usize) -> Vec<ReceivedMessage> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let more = receiver
            .receive(count - messages.len(), SOON)
            .await
            .unwrap();
        assert!(!more.is_empty(), "{} of {count} came", messages.len());
        messages.extend(more);
    }
    messages
}

fn ids(messages: &[ReceivedMessage]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.message_id.as_deref().unwrap_or("none"))
        .collect()
}

fn id_set(messages: &[ReceivedMessage]) -> BTreeSet<String> {
    ids(messages).into_iter().map(str::to_owned).collect()
}

fn counts(broker: &Broker) -> QueueCounts {
    broker.counts("orders").unwrap()
}

/// Waits until the broker's counts are as expected.
async fn until(broker: &Broker, expected: impl Fn(QueueCounts) -> bool) {
    for _ in 0..200 {
        if expected(counts(broker)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", counts(broker));
}

fn abandon() -> Settlement {
    Settlement::Abandon {
        properties: Properties::new(),
    }
}

fn defer() -> Settlement {
    Settlement::Defer {
        properties: Properties::new(),
    }
}

fn dead_letter(reason: &str) -> Settlement {
    Settlement::DeadLetter {
        reason: reason.into(),
        description: "as the test wants it".into(),
        properties: Properties::from([("Stage".to_owned(), "map".into())]),
    }
}
