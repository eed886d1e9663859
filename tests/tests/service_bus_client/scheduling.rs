//! Messages for later.

use super::*;
use service_bus::{ErrorClass, MessageState};

const LATER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_message_sent_with_a_time_appears_when_it_has_come() {
    let (_broker, client) = stack().await;
    let due = Duration::from_millis(1200);
    client
        .send("orders", message_at("later", due))
        .await
        .unwrap();
    let peeked = client.peek("orders", 0, 10).await.unwrap();
    assert_eq!(peeked[0].state, MessageState::Scheduled);
    let due = peeked[0].scheduled_enqueue_time.unwrap();

    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 1)
        .await
        .unwrap();
    let got = receive_one(&mut receiver).await;
    assert_eq!(ids(std::slice::from_ref(&got)), ["later"]);
    assert!(
        got.enqueued_time >= due,
        "{} is before {due}",
        got.enqueued_time
    );
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn scheduled_messages_are_cancelled_by_their_numbers() {
    let (broker, client) = stack().await;
    let messages = vec![message_at("a", LATER), message_at("b", LATER)];
    let numbers = client.schedule("orders", messages).await.unwrap();
    assert_eq!(numbers.len(), 2);
    assert_eq!(counts(&broker).scheduled, 2);
    let peeked = client.peek("orders", 0, 10).await.unwrap();
    assert_eq!(ids(&peeked), ["a", "b"]);

    client
        .cancel_scheduled("orders", &numbers[..1])
        .await
        .unwrap();
    assert_eq!(counts(&broker).scheduled, 1);
    let again = client
        .cancel_scheduled("orders", &numbers[..1])
        .await
        .unwrap_err();
    assert_eq!(again.class(), ErrorClass::NotFound, "{again}");
}

#[tokio::test]
async fn a_schedule_without_a_time_is_refused_before_anything_is_sent() {
    let (broker, client) = stack().await;
    let messages = vec![message_at("a", LATER), message("b")];
    let error = client.schedule("orders", messages).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
    assert_eq!(counts(&broker).scheduled, 0);
}
