//! What becomes of messages.

use super::*;
use service_bus::{ErrorClass, Value, dead_letter_queue};

fn briefly_locked() -> QueueConfig {
    QueueConfig {
        lock_duration: Duration::from_millis(800),
        ..QueueConfig::named("orders")
    }
}

#[tokio::test]
async fn completed_messages_are_gone() {
    let (broker, client) = stack().await;
    send(&client, &["m"]).await;
    let (receiver, got) = lock_one(&client).await;
    receiver.settle(&got, Settlement::Complete).await.unwrap();
    assert_eq!(counts(&broker), QueueCounts::default());
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn an_abandoned_message_comes_again_with_a_higher_count_and_new_properties() {
    let (_broker, client) = stack().await;
    send(&client, &["m"]).await;
    let (mut receiver, got) = lock_one(&client).await;
    let properties = Properties::from([("Attempt".to_owned(), Value::Int(1))]);
    receiver
        .settle(&got, Settlement::Abandon { properties })
        .await
        .unwrap();
    let again = receive_one(&mut receiver).await;
    assert_eq!(again.delivery_count, 1);
    assert_eq!(again.properties.get("Attempt"), Some(&Value::Int(1)));
    assert_ne!(again.lock_token, got.lock_token);
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_deferred_message_is_found_by_its_number_only() {
    let (broker, client) = stack().await;
    send(&client, &["m"]).await;
    let (mut receiver, got) = lock_one(&client).await;
    receiver.settle(&got, defer()).await.unwrap();
    assert_eq!(counts(&broker).deferred, 1);
    assert_eq!(receiver.receive(1, A_MOMENT).await.unwrap(), []);

    let number = [got.sequence_number];
    let found = client
        .receive_deferred("orders", &number, ReceiveMode::PeekLock)
        .await
        .unwrap();
    assert_eq!(ids(&found), ["m"]);
    let token = found[0].lock_token.unwrap();
    client
        .settle("orders", token, Settlement::Complete)
        .await
        .unwrap();
    let gone = client
        .receive_deferred("orders", &number, ReceiveMode::PeekLock)
        .await;
    assert_eq!(gone.unwrap_err().class(), ErrorClass::NotFound);
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_dead_lettered_message_tells_why_in_the_dead_letter_queue() {
    let (_broker, client) = stack().await;
    send(&client, &["m"]).await;
    let (receiver, got) = lock_one(&client).await;
    receiver
        .settle(&got, dead_letter("no-such-country"))
        .await
        .unwrap();
    receiver.close().await.unwrap();

    let dead = dead_letter_queue("orders");
    let peeked = client.peek(&dead, 0, 10).await.unwrap();
    assert_eq!(peeked[0].dead_letter_reason(), Some("no-such-country"));
    assert_eq!(
        peeked[0].dead_letter_description(),
        Some("as the test wants it")
    );
    assert_eq!(peeked[0].properties.get("Stage"), Some(&Value::from("map")));
    assert_eq!(peeked[0].lock_token, None);

    let mut receiver = client
        .receiver(&dead, ReceiveMode::PeekLock, 5)
        .await
        .unwrap();
    let taken = receive_one(&mut receiver).await;
    assert_eq!(ids(std::slice::from_ref(&taken)), ["m"]);
    receiver.settle(&taken, Settlement::Complete).await.unwrap();
    assert_eq!(client.peek(&dead, 0, 10).await.unwrap(), []);
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_second_client_settles_by_lock_token_and_the_first_has_lost_the_lock() {
    for (settlement, expected) in [
        (Settlement::Complete, QueueCounts::default()),
        (
            defer(),
            QueueCounts {
                deferred: 1,
                ..QueueCounts::default()
            },
        ),
        (
            dead_letter("why"),
            QueueCounts {
                dead_letter: 1,
                ..QueueCounts::default()
            },
        ),
        (
            abandon(),
            QueueCounts {
                active: 1,
                ..QueueCounts::default()
            },
        ),
    ] {
        let (broker, first) = stack().await;
        send(&first, &["m"]).await;
        let (receiver, got) = lock_one(&first).await;
        let second = client_of(&broker);
        let token = got.lock_token.unwrap();
        second
            .settle("orders", token, settlement.clone())
            .await
            .unwrap();
        assert_eq!(counts(&broker), expected, "{settlement:?}");

        let again = second
            .settle("orders", token, settlement)
            .await
            .unwrap_err();
        assert_eq!(again.class(), ErrorClass::LockLost, "{again}");
        assert_eq!(again.condition(), Some("com.microsoft:message-lock-lost"));
        let late = receiver
            .settle(&got, Settlement::Complete)
            .await
            .unwrap_err();
        assert_eq!(late.class(), ErrorClass::LockLost, "{late}");
        receiver.close().await.unwrap();
        assert_eq!(counts(&broker), expected);
    }
}

#[tokio::test]
async fn a_lock_that_expired_is_lost_and_the_message_comes_again() {
    let (broker, client) = stack_with(briefly_locked()).await;
    send(&client, &["m"]).await;
    let (mut receiver, got) = lock_one(&client).await;
    until(&broker, |counts| counts.active == 1).await;
    let late = receiver
        .settle(&got, Settlement::Complete)
        .await
        .unwrap_err();
    assert_eq!(late.class(), ErrorClass::LockLost, "{late}");
    let renewed = client.renew_lock("orders", got.lock_token.unwrap()).await;
    assert_eq!(renewed.unwrap_err().class(), ErrorClass::LockLost);

    let again = receive_one(&mut receiver).await;
    assert_eq!(again.delivery_count, 1);
    receiver.settle(&again, Settlement::Complete).await.unwrap();
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_renewed_lock_ends_later() {
    let (_broker, client) = stack_with(briefly_locked()).await;
    send(&client, &["m"]).await;
    let (receiver, got) = lock_one(&client).await;
    let mut until = got.locked_until.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let renewed = client
            .renew_lock("orders", got.lock_token.unwrap())
            .await
            .unwrap();
        assert!(renewed > until);
        until = renewed;
    }
    receiver.settle(&got, Settlement::Complete).await.unwrap();
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn many_messages_are_settled_at_once_on_one_link() {
    let (broker, client) = stack().await;
    let batch = (0..200)
        .map(|number| message(&number.to_string()))
        .collect();
    client.send_batch("orders", batch).await.unwrap();
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 200)
        .await
        .unwrap();
    let messages = receive_all(&mut receiver, 200).await;
    let settling = messages
        .iter()
        .map(|message| receiver.settle(message, Settlement::Complete));
    for settled in join_all(settling).await {
        settled.unwrap();
    }
    assert_eq!(counts(&broker), QueueCounts::default());
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_not_locked_cannot_be_settled() {
    let (_broker, client) = stack().await;
    send(&client, &["m"]).await;
    let receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 1)
        .await
        .unwrap();
    let peeked = client.peek("orders", 0, 1).await.unwrap();
    let error = receiver
        .settle(&peeked[0], Settlement::Complete)
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
    receiver.close().await.unwrap();
}

/// Polls futures that borrow, all together, on one task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs
}
