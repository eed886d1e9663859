//! A function on a queue with sessions: order, settlement on the session's link, and everybody's turn.

use local_stack::bus::{Broker, BrokerConfig, QueueConfig};
use local_stack::host::Host;
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage};

use crate::app::{App, calls, eventually, logged, seen};

const QUEUE: &str = "orders";

struct Stack {
    broker: Broker,
    client: Client,
    app: App,
}

/// A broker with a queue with sessions, and an app with the function `Orders` on it.
async fn stack(handler: &str) -> Stack {
    let mut queue = QueueConfig::named(QUEUE);
    queue.requires_session = true;
    queue.max_delivery_count = 3;
    let broker = Broker::start(BrokerConfig::new([queue])).await.unwrap();
    let client =
        Client::from_connection_string(&broker.connection_string(), ClientOptions::default())
            .unwrap();
    let binding = json!({"type": "serviceBusTrigger", "direction": "in", "name": "msg", "queueName": QUEUE,
        "connection": "Bus", "dataType": "binary", "isSessionsEnabled": true});
    let app = App::new()
        .function("Orders", binding)
        .set("Bus", &broker.connection_string())
        .set("HANDLER", handler)
        .host("extensions__serviceBus__sessionIdleTimeout", "00:00:01");
    Stack {
        broker,
        client,
        app,
    }
}

impl Stack {
    async fn send(&self, session: &str, text: &str) {
        let message = OutgoingMessage {
            session_id: Some(session.to_owned()),
            ..OutgoingMessage::new(text.to_owned())
        };
        self.client.send(QUEUE, message).await.unwrap();
    }

    async fn completed(&self, count: u64) {
        eventually("they are completed", || {
            self.broker.counters(QUEUE).unwrap().completed == count
        })
        .await;
    }
}

/// The bodies of the invocations, oldest first.
fn texts(host: &Host) -> Vec<String> {
    let orders = seen(host).into_iter();
    let orders = orders.filter_map(|seen| Some(seen.get("order")?["text"].as_str()?.to_owned()));
    orders.collect()
}

#[tokio::test]
async fn a_failed_message_comes_back_before_the_next_one_of_its_session() {
    let stack = stack("ready").await;
    for text in ["ok:1", "once", "ok:2", "ok:3"] {
        stack.send("a", text).await;
    }
    let host = stack.app.start().await;
    stack.completed(4).await;
    assert_eq!(texts(&host), ["ok:1", "once", "once", "ok:2", "ok:3"]);
    assert_eq!(stack.broker.counters(QUEUE).unwrap().abandoned, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_message_that_always_fails_is_dead_lettered_and_the_session_goes_on() {
    let stack = stack("ready").await;
    for text in ["fail", "ok:after"] {
        stack.send("a", text).await;
    }
    let host = stack.app.start().await;
    stack.completed(1).await;
    assert_eq!(texts(&host), ["fail", "fail", "fail", "ok:after"]);
    assert_eq!(stack.broker.counts(QUEUE).unwrap().dead_letter, 1);
    host.stop().await;
}

#[tokio::test]
async fn one_session_does_not_wait_for_the_work_of_another() {
    let stack = stack("ready").await;
    stack.send("slow", "hang-once").await;
    let host = stack.app.start().await;
    eventually("it hangs", || texts(&host) == ["hang-once"]).await;
    stack.send("quick", "ok").await;
    stack.completed(1).await;
    assert_eq!(texts(&host), ["hang-once", "ok"]);
    drop(host);
}

#[tokio::test]
async fn an_idle_session_makes_room_for_the_next() {
    let mut stack = stack("ready").await;
    stack.app = stack
        .app
        .host("extensions__serviceBus__maxConcurrentSessions", "1");
    let host = stack.app.start().await;
    for session in ["a", "b", "c"] {
        stack.send(session, session).await;
    }
    stack.completed(3).await;
    let mut texts = texts(&host);
    texts.sort();
    assert_eq!(texts, ["a", "b", "c"]);
    assert!(!logged(&host, "lost session"));
    host.stop().await;
}

#[tokio::test]
async fn the_metadata_names_the_session_and_the_end_of_its_lock() {
    let stack = stack("record").await;
    stack.send("account:1", "hello").await;
    let host = stack.app.start().await;
    stack.completed(1).await;
    let calls = calls(&host);
    let metadata = &calls[0]["Metadata"];
    assert!(metadata["SessionId"].to_string().contains("account:1"));
    for key in ["MessageSession", "SessionActions"] {
        let shown = match &metadata[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert!(shown.contains("SessionLockedUntil"), "{key}: {shown}");
    }
    host.stop().await;
}

#[tokio::test]
async fn a_session_longer_than_its_lock_is_kept() {
    let mut queue = QueueConfig::named(QUEUE);
    queue.requires_session = true;
    queue.lock_duration = std::time::Duration::from_secs(5);
    let mut stack = stack("ready").await;
    stack.broker = Broker::start(BrokerConfig::new([queue])).await.unwrap();
    let connection = stack.broker.connection_string();
    stack.client = Client::from_connection_string(&connection, ClientOptions::default()).unwrap();
    stack.app = stack.app.set("Bus", &connection);
    stack.send("a", "sleep:8000").await;
    let host = stack.app.start().await;
    stack.completed(1).await;
    assert_eq!(texts(&host), ["sleep:8000"]);
    host.stop().await;
}
