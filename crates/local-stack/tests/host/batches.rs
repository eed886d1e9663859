//! `cardinality: many`: one invocation for many messages, settled together.

use std::time::Duration;

use local_stack::bus::{Broker, BrokerConfig, QueueConfig};
use local_stack::host::Host;
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage};

use crate::app::{App, calls, eventually, logged};

const QUEUE: &str = "orders";

async fn broker(change: impl FnOnce(&mut QueueConfig)) -> (Broker, Client) {
    let mut queue = QueueConfig::named(QUEUE);
    change(&mut queue);
    let broker = Broker::start(BrokerConfig::new([queue])).await.unwrap();
    let client =
        Client::from_connection_string(&broker.connection_string(), ClientOptions::default())
            .unwrap();
    (broker, client)
}

fn app(broker: &Broker, change: impl FnOnce(&mut Value)) -> App {
    let mut binding = json!({"type": "serviceBusTrigger", "direction": "in", "name": "msgs",
        "queueName": QUEUE, "connection": "Bus", "cardinality": "many", "dataType": "string"});
    change(&mut binding);
    App::new()
        .function("Batch", binding)
        .set("HANDLER", "record")
        .set("Bus", &broker.connection_string())
}

async fn send(client: &Client, texts: impl IntoIterator<Item = &str>) {
    for text in texts {
        let message = OutgoingMessage {
            message_id: Some(text.to_owned()),
            ..OutgoingMessage::new(text.to_owned())
        };
        client.send(QUEUE, message).await.unwrap();
    }
}

/// The bodies of each invocation.
fn batches(host: &Host) -> Vec<Vec<String>> {
    let bodies = |call: Value| serde_json::from_str(call["Data"]["msgs"].as_str().unwrap());
    calls(host)
        .into_iter()
        .map(|call| bodies(call).unwrap())
        .collect()
}

#[tokio::test]
async fn what_waits_is_one_invocation_and_completed_message_by_message() {
    let (broker, client) = broker(|_| {}).await;
    send(&client, ["a", "b", "c", "d", "e"]).await;
    let app = app(&broker, |binding| binding["maxMessageBatchSize"] = json!(3));
    let host = app.start().await;
    eventually("all are completed", || {
        broker.counters(QUEUE).unwrap().completed == 5
    })
    .await;
    let batches = batches(&host);
    assert_eq!(batches.concat(), ["a", "b", "c", "d", "e"]);
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    let metadata = &calls(&host)[0]["Metadata"];
    let ids: Vec<String> =
        serde_json::from_str(metadata["MessageIdArray"].as_str().unwrap()).unwrap();
    assert_eq!(ids, batches[0]);
    host.stop().await;
}

#[tokio::test]
async fn one_poison_message_drags_its_whole_batch_along() {
    let (broker, client) = broker(|queue| queue.max_delivery_count = 2).await;
    send(&client, ["fail", "good"]).await;
    // Only both together are a batch, also when one of them arrives later than the other.
    let app = app(&broker, |_| {}).host("extensions__serviceBus__minMessageBatchSize", "2");
    let host = app.start().await;
    eventually("both are dead-lettered", || {
        broker.counts(QUEUE).unwrap().dead_letter == 2
    })
    .await;
    let mut batches = batches(&host);
    batches.iter_mut().for_each(|batch| batch.sort());
    assert_eq!(batches, [["fail", "good"], ["fail", "good"]]);
    assert_eq!(host.invocations_of("Batch").failed, 2);
    host.stop().await;
}

#[tokio::test]
async fn without_data_type_a_body_that_is_not_json_fails_the_batch_before_the_handler_sees_it() {
    let (broker, client) = broker(|queue| queue.max_delivery_count = 1).await;
    send(&client, ["plain text"]).await;
    let app = app(&broker, |binding| {
        binding.as_object_mut().unwrap().remove("dataType");
    });
    let host = app.start().await;
    eventually("it is dead-lettered", || {
        broker.counts(QUEUE).unwrap().dead_letter == 1
    })
    .await;
    assert!(calls(&host).is_empty());
    assert!(logged(&host, "fails the whole batch"));
    host.stop().await;
}

#[tokio::test]
async fn the_locks_of_a_batch_are_not_renewed() {
    let (broker, client) = broker(|queue| queue.lock_duration = Duration::from_secs(1)).await;
    send(&client, ["a"]).await;
    let app = app(&broker, |binding| {
        binding["autoCompleteMessages"] = json!(false);
    });
    let host = app.start().await;
    eventually("a second delivery", || batches(&host).len() >= 2).await;
    assert_eq!(broker.counters(QUEUE).unwrap().completed, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_batch_smaller_than_the_least_size_goes_when_it_has_waited_long_enough() {
    let (broker, client) = broker(|_| {}).await;
    send(&client, ["a"]).await;
    let app = app(&broker, |_| {})
        .host("extensions__serviceBus__minMessageBatchSize", "10")
        .host("extensions__serviceBus__maxBatchWaitTime", "00:00:01");
    let host = app.start().await;
    eventually("it is completed", || {
        broker.counters(QUEUE).unwrap().completed == 1
    })
    .await;
    assert_eq!(batches(&host), [["a"]]);
    host.stop().await;
}
