//! Messages that are sent.

use super::*;
use service_bus::{ErrorClass, Value};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_message_arrives_with_everything_it_was_sent_with() {
    let (_broker, client) = stack().await;
    let sent = OutgoingMessage {
        body: "{\"n\":1}".into(),
        message_id: Some("m-1".into()),
        correlation_id: Some("c-1".into()),
        session_id: None,
        partition_key: Some("p".into()),
        subject: Some("account".into()),
        content_type: Some("application/json".into()),
        reply_to: Some("answers".into()),
        to: Some("elsewhere".into()),
        time_to_live: Some(Duration::from_secs(3600)),
        scheduled_enqueue_time: None,
        properties: Properties::from([
            ("RetryCount".to_owned(), Value::Int(3)),
            ("traceparent".to_owned(), Value::from("00-ab-cd-01")),
            ("big".to_owned(), Value::Long(1 << 40)),
            ("id".to_owned(), Value::Uuid(uuid::Uuid::from_u128(7))),
            ("bytes".to_owned(), Value::Binary(vec![0, 255].into())),
            ("none".to_owned(), Value::Null),
        ]),
    };
    client.send("orders", sent.clone()).await.unwrap();

    let (receiver, got) = lock_one(&client).await;
    assert_eq!(got.body, sent.body);
    assert_eq!(got.message_id, sent.message_id);
    assert_eq!(got.correlation_id, sent.correlation_id);
    assert_eq!(got.partition_key, sent.partition_key);
    assert_eq!(got.subject, sent.subject);
    assert_eq!(got.content_type, sent.content_type);
    assert_eq!(got.reply_to, sent.reply_to);
    assert_eq!(got.to, sent.to);
    assert_eq!(got.time_to_live, sent.time_to_live);
    assert_eq!(got.properties, sent.properties);
    assert_eq!(got.delivery_count, 0);
    assert!(got.sequence_number > 0);
    assert_eq!(got.enqueued_sequence_number, got.sequence_number);
    assert!(got.lock_token.is_some());
    assert!(got.locked_until.unwrap() > got.enqueued_time);
    assert_eq!(
        got.expires_at,
        Some(got.enqueued_time + Duration::from_secs(3600))
    );
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_batch_arrives_whole_and_in_order() {
    let (broker, client) = stack().await;
    let names: Vec<String> = (0..50).map(|number| format!("b-{number:02}")).collect();
    let batch = names.iter().map(|name| message(name)).collect();
    client.send_batch("orders", batch).await.unwrap();
    assert_eq!(counts(&broker).active, 50);
    let peeked = client.peek("orders", 0, 100).await.unwrap();
    assert_eq!(ids(&peeked), names);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_refused_as_a_whole() {
    let (broker, client) = stack().await;
    let large = OutgoingMessage::new(vec![b'x'; 200 * 1024]);
    let error = client
        .send_batch("orders", vec![large.clone(), large])
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::TooLarge, "{error}");
    assert_eq!(counts(&broker).active, 0);
}

#[tokio::test]
async fn a_large_message_crosses_in_many_frames() {
    let (_broker, client) = stack().await;
    let body: Vec<u8> = (0..200_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    client
        .send("orders", OutgoingMessage::new(body.clone()))
        .await
        .unwrap();
    let (receiver, got) = lock_one(&client).await;
    assert_eq!(got.body, body);
    receiver.settle(&got, Settlement::Complete).await.unwrap();
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn an_unknown_entity_is_not_found_whatever_is_asked_of_it() {
    let (_broker, client) = stack().await;
    let errors = [
        client.send("ordres", message("m")).await.unwrap_err(),
        client.peek("ordres", 0, 1).await.unwrap_err(),
        client
            .receiver("ordres", ReceiveMode::PeekLock, 1)
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.class(), ErrorClass::NotFound, "{error}");
        assert!(error.to_string().contains("ordres"), "{error}");
    }
    // The connection they all share has not suffered.
    send(&client, &["m"]).await;
}

#[tokio::test]
async fn two_thousand_sends_at_once_share_a_link_and_all_arrive() {
    let (broker, client) = stack().await;
    let mut sends = JoinSet::new();
    for number in 0..2000 {
        let client = client.clone();
        sends.spawn(async move { client.send("orders", message(&number.to_string())).await });
    }
    while let Some(sent) = sends.join_next().await {
        sent.unwrap().unwrap();
    }
    assert_eq!(counts(&broker).active, 2000);
    assert_eq!(broker.counters("orders").unwrap().sent, 2000);
}

#[tokio::test]
async fn a_send_that_is_given_up_leaves_the_others_alone() {
    let (broker, client) = stack().await;
    send(&client, &["first"]).await;
    for number in 0..50 {
        let id = format!("given-up-{number}");
        let given_up = client.send("orders", message(&id));
        let _ = tokio::time::timeout(Duration::from_micros(number * 20), given_up).await;
    }
    send(&client, &["last"]).await;
    let peeked = client.peek("orders", 0, 100).await.unwrap();
    assert_eq!(ids(&peeked).first(), Some(&"first"));
    assert_eq!(ids(&peeked).last(), Some(&"last"));
    assert_eq!(counts(&broker).active, peeked.len());
}
