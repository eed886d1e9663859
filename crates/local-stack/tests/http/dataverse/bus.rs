use std::sync::Arc;
use std::time::Duration;

use local_stack::bus::{Broker, BrokerConfig, QueueConfig};
use local_stack::dataverse::{BusSender, Dataverse, DataverseConfig};
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, ReceiveMode, Settlement};

/// A namespace with one queue, and an environment that posts to it.
async fn posting() -> (Broker, Client, Dataverse) {
    let broker = Broker::start(BrokerConfig::new([QueueConfig::named("outbound")]));
    let broker = broker.await.unwrap();
    let options = ClientOptions::default();
    let client = Client::from_connection_string(&broker.connection_string(), options).unwrap();
    let dataverse = Dataverse::start(DataverseConfig {
        sender: Some(Arc::new(BusSender::new(client.clone(), "outbound"))),
        ..DataverseConfig::default()
    });
    (broker, client, dataverse.await.unwrap())
}

#[tokio::test]
async fn a_notification_arrives_on_the_queue_under_its_outbox_id() {
    let (_broker, client, dataverse) = posting().await;
    let saved = dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    assert_eq!(dataverse.outbox_len(), 0);

    let mut receiver = client
        .receiver("outbound", ReceiveMode::PeekLock, 10)
        .await
        .unwrap();
    let messages = receiver.receive(1, Duration::from_secs(10)).await.unwrap();
    let message = &messages[0];
    let id = saved.notification_id.unwrap().to_string();
    let correlation = saved.correlation_id.to_string();
    assert_eq!(message.message_id.as_deref(), Some(id.as_str()));
    assert_eq!(
        message.correlation_id.as_deref(),
        Some(correlation.as_str())
    );
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.session_id, None);
    let property = |name: &str| {
        message
            .properties
            .get(name)
            .and_then(|value| value.as_str())
    };
    assert_eq!(property("x-source-table"), Some("account"));
    assert_eq!(property("traceparent").map(str::len), Some(55));
    assert_eq!(property("Diagnostic-Id"), property("traceparent"));
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["notificationId"], id);
    receiver
        .settle(message, Settlement::Complete)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_the_reason_on_the_outbox_row() {
    let (_broker, client, _) = posting().await;
    let dataverse = Dataverse::start(DataverseConfig {
        sender: Some(Arc::new(BusSender::new(client, "absent"))),
        ..DataverseConfig::default()
    });
    let dataverse = dataverse.await.unwrap();
    dataverse
        .save("account", None, &json!({"name": "A"}))
        .unwrap();
    dataverse.posts_done().await;
    let row = &dataverse.outbox()[0];
    assert_eq!(row["statuscode"], 3);
    let reason = row["dvs_lasterror"].as_str().unwrap();
    assert!(reason.contains("absent"), "{reason}");
}
