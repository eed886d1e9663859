//! The broker's test hooks over HTTP, with this workspace's own client on the other side.

use local_stack::bus::{Broker, BrokerAdmin, BrokerConfig};
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage};

use crate::client;

async fn start() -> (Broker, BrokerAdmin, Client) {
    let broker = Broker::start(BrokerConfig::with_queues(["q"]))
        .await
        .unwrap();
    let admin = BrokerAdmin::start(broker.hooks(), 0).await.unwrap();
    let text = broker.connection_string();
    let client = Client::from_connection_string(&text, ClientOptions::default()).unwrap();
    (broker, admin, client)
}

async fn post(admin: &BrokerAdmin, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/_admin/{path}", admin.url());
    let answer = client().post(url).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_script_is_set_hits_once_and_is_gone() {
    let (broker, admin, sender) = start().await;
    let script = json!({
        "entity": "q", "operation": "send", "fault": {"refuse": {"condition": "amqp:not-allowed"}},
    });
    let (status, pending) = post(&admin, "script", script).await;
    assert_eq!((status, pending.as_array().unwrap().len()), (200, 1));
    let message = || OutgoingMessage::new("{}");
    assert!(sender.send("q", message()).await.is_err());
    sender.send("q", message()).await.unwrap();
    assert_eq!(broker.counts("q").unwrap().active, 1);
    let url = format!("{}/_admin/script", admin.url());
    let left: Value = client()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(left, json!([]));
}

#[tokio::test]
async fn connections_are_found_by_their_entity_and_disturbed() {
    let (_broker, admin, sender) = start().await;
    sender.send("q", OutgoingMessage::new("{}")).await.unwrap();
    let reset = json!({"whom": {"entity": "Q"}, "what": "reset"});
    assert_eq!(
        post(&admin, "disturb", reset).await,
        (200, json!({"told": 1}))
    );
    let reset = json!({"whom": {"entity": "other"}, "what": {"stall_ms": 5}});
    assert_eq!(
        post(&admin, "disturb", reset).await,
        (200, json!({"told": 0}))
    );
    let lost = post(&admin, "lose-locks", json!({"entity": "q"})).await;
    assert_eq!(lost, (200, json!({"lost": 0})));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_reason() {
    let (_broker, admin, _) = start().await;
    let cases = [
        ("script", json!({"fault": "lose_lock"}), "does not fit"),
        ("script", json!({"fualt": "lose_lock"}), "fualt"),
        ("disturb", json!({"what": "explode"}), "explode"),
        ("lose-locks", json!({"entity": "other"}), "other"),
        ("partition", json!({"seconds": 3}), "seconds"),
    ];
    for (path, body, word) in cases {
        let (status, answer) = post(&admin, path, body).await;
        assert_eq!(status, 400);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
    }
}
