//! From the queue to the handler and back: settlement, redelivery, locks, outputs.

use std::time::Duration;

use local_stack::bus::{Broker, BrokerConfig, QueueConfig};
use local_stack::host::{Host, HostState};
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage, Properties, Settlement};
use uuid::Uuid;

use crate::app::{App, eventually, logged, seen};

const QUEUE: &str = "orders";
const REPLIES: &str = "replies";

struct Stack {
    broker: Broker,
    client: Client,
    app: App,
}

/// A broker, and an app with the function `Orders` on one of its queues.
async fn stack(change: impl FnOnce(&mut QueueConfig), binding: Value) -> Stack {
    let mut queue = QueueConfig::named(QUEUE);
    queue.max_delivery_count = 3;
    change(&mut queue);
    let mut config = BrokerConfig::with_queues([REPLIES]);
    config.queues.push(queue);
    let broker = Broker::start(config).await.unwrap();
    let client =
        Client::from_connection_string(&broker.connection_string(), ClientOptions::default())
            .unwrap();
    let output = json!({"type": "serviceBus", "direction": "out", "name": "outq", "queueName": REPLIES, "connection": "Bus"});
    let app = App::new()
        .function_json("Orders", &json!({"bindings": [binding, output]}))
        .set("Bus", &broker.connection_string())
        .set("ORDERS", QUEUE);
    Stack {
        broker,
        client,
        app,
    }
}

fn binding() -> Value {
    json!({"type": "serviceBusTrigger", "direction": "in", "name": "msg", "queueName": "%ORDERS%",
           "connection": "Bus", "dataType": "binary"})
}

impl Stack {
    /// An override of host.json.
    fn host(mut self, path: &str, value: &str) -> Self {
        self.app = self.app.host(path, value);
        self
    }

    async fn send(&self, text: &str) {
        self.client
            .send(QUEUE, OutgoingMessage::new(text.to_owned()))
            .await
            .unwrap();
    }

    fn left(&self) -> usize {
        let counts = self.broker.counts(QUEUE).unwrap();
        counts.active + counts.locked + counts.scheduled + counts.deferred
    }

    fn completed(&self) -> u64 {
        self.broker.counters(QUEUE).unwrap().completed
    }

    async fn empty(&self) {
        eventually("the queue is empty", || self.left() == 0).await;
    }
}

fn orders(host: &Host) -> Vec<Value> {
    let orders = seen(host)
        .into_iter()
        .filter_map(|seen| seen.get("order").cloned());
    orders.collect()
}

fn deliveries(host: &Host) -> Vec<u64> {
    orders(host)
        .iter()
        .map(|order| order["delivery"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_is_invoked_once_and_completed() {
    let stack = stack(|_| {}, binding()).await;
    let host = stack.app.start().await;
    let message = OutgoingMessage {
        message_id: Some("m-1".to_owned()),
        properties: Properties::from([("RetryCount".to_owned(), 2.into())]),
        ..OutgoingMessage::new("ok")
    };
    stack.client.send(QUEUE, message).await.unwrap();
    eventually("it is completed", || stack.completed() == 1).await;
    stack.empty().await;
    let orders = orders(&host);
    assert_eq!(orders.len(), 1);
    assert_eq!(
        (&orders[0]["text"], &orders[0]["message_id"]),
        (&json!("ok"), &json!("m-1"))
    );
    assert_eq!(
        (&orders[0]["delivery"], &orders[0]["properties"]),
        (&json!(1), &json!({"RetryCount": 2}))
    );
    host.stop().await;
}

#[tokio::test]
async fn a_failed_message_is_abandoned_and_comes_back_until_it_is_dead_lettered() {
    for automatic in [true, false] {
        let mut binding = binding();
        binding["autoCompleteMessages"] = json!(automatic);
        let stack = stack(|_| {}, binding).await;
        let host = stack.app.start().await;
        stack.send("fail").await;
        eventually("it is dead-lettered", || {
            stack.broker.counts(QUEUE).unwrap().dead_letter == 1
        })
        .await;
        assert_eq!(deliveries(&host), [1, 2, 3]);
        assert_eq!(host.invocations_of("Orders").failed, 3);
        let dead = stack.broker.snapshot(QUEUE).unwrap().dead_letter;
        assert_eq!(
            dead[0].dead_letter_reason.as_deref(),
            Some("MaxDeliveryCountExceeded")
        );
        host.stop().await;
    }
}

#[tokio::test]
async fn without_automatic_completion_a_success_settles_nothing() {
    let mut binding = binding();
    binding["autoCompleteMessages"] = json!(false);
    let stack = stack(
        |queue| queue.lock_duration = Duration::from_secs(1),
        binding,
    )
    .await;
    // The lock is not renewed once the invocation has ended.
    let host = stack.app.start().await;
    stack.send("ok").await;
    eventually("a second delivery", || deliveries(&host).len() >= 2).await;
    assert_eq!(deliveries(&host)[..2], [1, 2]);
    assert_eq!(stack.completed(), 0);
    host.stop().await;
}

#[tokio::test]
async fn a_handler_that_dies_takes_its_invocation_with_it_and_the_message_comes_back() {
    let stack = stack(|_| {}, binding()).await;
    let host = stack.app.start().await;
    stack.send("hang-once").await;
    eventually("it is under way", || orders(&host).len() == 1).await;
    assert_eq!(host.invocations().in_flight(), 1);
    host.kill_handler();
    eventually("it is completed", || stack.completed() == 1).await;
    // More deliveries are lost if they are sent before the host has seen the handler's end.
    let deliveries = deliveries(&host);
    assert_eq!((deliveries.len(), deliveries[0]), (2, 1), "{deliveries:?}");
    assert_eq!(host.handler_restarts(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_message_that_crashes_the_handler_stops_the_host_and_a_new_host_goes_on() {
    // Deliveries are also spent on a handler that has ended without the host having noticed.
    let stack = stack(|queue| queue.max_delivery_count = 100, binding()).await;
    let mut config = stack.app.config();
    config.restart_host = true;
    let host = Host::start(config).await.unwrap();
    stack.send("exit:7").await;
    eventually("a new host", || host.host_restarts() == 1).await;
    stack.send("ok").await;
    eventually("the next message is completed", || stack.completed() == 1).await;
    host.stop().await;
}

#[tokio::test]
async fn a_function_timeout_kills_the_neighbours_too() {
    let stack = stack(|_| {}, binding()).await;
    let stack = stack.host("functionTimeout", "00:00:01");
    let host = stack.app.start().await;
    stack.send("hang-once").await;
    stack.send("hang-once").await;
    eventually("both come back", || stack.completed() == 2).await;
    assert_eq!(host.invocations().failed, 2);
    assert!(logged(&host, "killing and restarting the handler"));
    assert_eq!(host.state(), HostState::Ready);
    host.stop().await;
}

#[tokio::test]
async fn a_lock_is_renewed_while_its_invocation_runs() {
    let stack = stack(
        |queue| queue.lock_duration = Duration::from_secs(1),
        binding(),
    )
    .await;
    let host = stack.app.start().await;
    stack.send("sleep:3500").await;
    eventually("it is completed", || stack.completed() == 1).await;
    assert_eq!(deliveries(&host), [1]);
    host.stop().await;
}

#[tokio::test]
async fn without_renewal_a_long_invocation_loses_its_lock() {
    let stack = stack(
        |queue| queue.lock_duration = Duration::from_secs(1),
        binding(),
    )
    .await;
    let stack = stack.host(
        "extensions__serviceBus__maxAutoLockRenewalDuration",
        "00:00:00",
    );
    let host = stack.app.start().await;
    stack.send("sleep:2500").await;
    eventually("a second delivery", || deliveries(&host).len() >= 2).await;
    eventually("the first cannot be completed", || {
        logged(&host, "cannot complete message")
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_message_settled_by_lock_token_elsewhere_is_only_a_line_in_the_log() {
    let stack = stack(|_| {}, binding()).await;
    let host = stack.app.start().await;
    stack.send("sleep:1000").await;
    eventually("it is under way", || orders(&host).len() == 1).await;
    let lock: Uuid = orders(&host)[0]["lock"].as_str().unwrap().parse().unwrap();
    let dead_letter = Settlement::DeadLetter {
        reason: "Permanent".to_owned(),
        description: "said so".to_owned(),
        properties: Properties::new(),
    };
    stack.client.settle(QUEUE, lock, dead_letter).await.unwrap();
    eventually("the host is told", || {
        logged(&host, "cannot complete message")
    })
    .await;
    assert_eq!(host.invocations().succeeded, 1);
    assert_eq!(
        (
            stack.left(),
            stack.broker.counts(QUEUE).unwrap().dead_letter
        ),
        (0, 1)
    );
    host.stop().await;
}

#[tokio::test]
async fn concurrent_calls_are_bounded() {
    let stack = stack(|_| {}, binding()).await;
    let stack = stack.host("extensions__serviceBus__maxConcurrentCalls", "2");
    for _ in 0..6 {
        stack.send("sleep:200").await;
    }
    let host = stack.app.start().await;
    let mut most = 0;
    eventually("all are completed", || {
        most = most.max(host.invocations().in_flight());
        stack.completed() == 6
    })
    .await;
    assert_eq!(most, 2);
    host.stop().await;
}

#[tokio::test]
async fn outputs_are_sent_verbatim_and_logs_are_the_functions_own() {
    let stack = stack(|_| {}, binding()).await;
    let host = stack.app.start().await;
    stack.send(r#"send:{"a":1}"#).await;
    stack.send("log:order done").await;
    eventually("both are completed", || stack.completed() == 2).await;
    let replies = stack.broker.snapshot(REPLIES).unwrap().active;
    let bodies: Vec<_> = replies
        .iter()
        .map(|reply| String::from_utf8_lossy(&reply.body).into_owned())
        .collect();
    assert_eq!(bodies, [r#"{"a":1}"#, "second"]);
    assert_eq!(replies[0].content_type.as_deref(), Some("text/plain"));
    assert!(replies[0].properties.contains_key("$AzureWebJobsParentId"));
    assert!(logged(&host, "order done"));
    host.stop().await;
}

#[tokio::test]
async fn a_string_body_is_refused_by_the_typed_handler() {
    let mut binding = binding();
    binding.as_object_mut().unwrap().remove("dataType");
    let stack = stack(|queue| queue.max_delivery_count = 1, binding).await;
    let host = stack.app.start().await;
    stack.send("ok").await;
    eventually("it is dead-lettered", || {
        stack.broker.counts(QUEUE).unwrap().dead_letter == 1
    })
    .await;
    assert!(logged(&host, "dataType") || host.invocations().failed == 1);
    host.stop().await;
}

#[tokio::test]
async fn messages_under_way_are_finished_before_the_host_stops() {
    let stack = stack(|_| {}, binding()).await;
    let host = stack.app.start().await;
    stack.send("sleep:700").await;
    eventually("it is under way", || orders(&host).len() == 1).await;
    host.stop().await;
    assert_eq!((stack.left(), stack.completed()), (0, 1));
}

#[tokio::test]
async fn the_listener_survives_a_lost_connection() {
    let stack = stack(|_| {}, binding()).await;
    let host = stack.app.start().await;
    stack.send("ok").await;
    stack.empty().await;
    stack.broker.drop_connections();
    stack.send("ok").await;
    eventually("the second is completed", || stack.completed() == 2).await;
    host.stop().await;
}
