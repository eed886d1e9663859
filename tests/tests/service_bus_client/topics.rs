//! Topics: the client sends to one by its name and receives from a subscription by its path.

use super::*;
use local_stack::bus::{Rule, SubscriptionConfig, TopicConfig};
use service_bus::Value;

#[tokio::test]
async fn a_message_for_a_topic_is_received_from_the_subscriptions_whose_rules_select_it() {
    let rule = Rule::sql("red", "color = 'red'").unwrap();
    let mut config = BrokerConfig::with_queues([]);
    config.topics = vec![TopicConfig {
        subscriptions: vec![
            SubscriptionConfig::named("all"),
            SubscriptionConfig {
                rules: vec![rule],
                ..SubscriptionConfig::named("red")
            },
        ],
        ..TopicConfig::named("orders")
    }];
    let broker = Broker::start(config).await.unwrap();
    let client = client_of(&broker);
    let red = OutgoingMessage {
        properties: Properties::from([("color".to_owned(), Value::from("red"))]),
        ..message("red")
    };
    client.send("orders", message("plain")).await.unwrap();
    client.send("orders", red).await.unwrap();

    // A message is in its subscriptions once its sender knows that it was accepted.
    let counts = |path: &str| broker.counts(path).unwrap().active;
    assert_eq!(counts("orders/Subscriptions/all"), 2);
    assert_eq!(counts("orders/Subscriptions/red"), 1);
    assert_eq!(counts("orders"), 0);
    assert_eq!(broker.counters("orders").unwrap().forwarded, 2);
    assert_eq!(broker.topics(), ["orders"]);
    assert_eq!(broker.subscriptions().len(), 2);
    assert_eq!(broker.queues(), Vec::<String>::new());

    let path = "orders/Subscriptions/red";
    let mut receiver = client
        .receiver(path, ReceiveMode::PeekLock, 1)
        .await
        .unwrap();
    let got = receive_one(&mut receiver).await;
    assert_eq!(ids(&[got]), ["red"]);
    receiver.close().await.unwrap();
}
