//! Sessions: one receiver at a time, in order, and an honest end.

use super::*;
use service_bus::{Error, ErrorClass, SessionReceiver};

async fn session_stack() -> (Broker, Client) {
    stack_with(QueueConfig {
        requires_session: true,
        ..QueueConfig::named("orders")
    })
    .await
}

async fn send_to(client: &Client, session: &str, ids: &[&str]) {
    for id in ids {
        let message = OutgoingMessage {
            session_id: Some(session.into()),
            ..message(id)
        };
        client.send("orders", message).await.unwrap();
    }
}

async fn accept(client: &Client, session: &str) -> Result<SessionReceiver, Error> {
    client.accept_session("orders", session, 10).await
}

async fn all(receiver: &mut SessionReceiver, count: usize) -> Vec<ReceivedMessage> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let more = receiver.receive(count, SOON).await.unwrap();
        assert!(!more.is_empty(), "{} of {count} came", messages.len());
        messages.extend(more);
    }
    messages
}

#[tokio::test]
async fn a_named_session_is_received_in_order_and_settled_on_its_link() {
    let (broker, client) = session_stack().await;
    send_to(&client, "s", &["a", "b"]).await;
    send_to(&client, "t", &["x"]).await;
    let mut receiver = accept(&client, "s").await.unwrap();
    assert_eq!(receiver.session_id(), "s");
    let messages = all(&mut receiver, 2).await;
    assert_eq!(ids(&messages), ["a", "b"]);
    assert_eq!(messages[0].session_id.as_deref(), Some("s"));
    let complete = Settlement::Complete;
    receiver.settle(&messages[0], complete).await.unwrap();
    receiver
        .settle(&messages[1], dead_letter("why"))
        .await
        .unwrap();
    receiver.close().await.unwrap();
    let counts = counts(&broker);
    assert_eq!((counts.active, counts.dead_letter), (1, 1));
}

#[tokio::test]
async fn the_next_session_is_waited_for_and_its_absence_is_no_error() {
    let (_broker, client) = session_stack().await;
    let none = client.accept_next_session("orders", 1, A_MOMENT).await;
    assert!(none.unwrap().is_none());
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.accept_next_session("orders", 1, SOON * 3).await }
    });
    send_to(&client, "s", &["a"]).await;
    let mut receiver = waiting.await.unwrap().unwrap().unwrap();
    assert_eq!(receiver.session_id(), "s");
    assert_eq!(ids(&all(&mut receiver, 1).await), ["a"]);
}

#[tokio::test]
async fn a_taken_session_is_refused_at_once_and_free_when_its_receiver_closes() {
    let (_broker, client) = session_stack().await;
    send_to(&client, "s", &["a"]).await;
    let mut first = accept(&client, "s").await.unwrap();
    all(&mut first, 1).await;
    let error = accept(&client, "s").await.unwrap_err();
    let condition = Some("com.microsoft:session-cannot-be-locked");
    assert_eq!(error.condition(), condition);
    first.close().await.unwrap();
    let mut second = accept(&client, "s").await.unwrap();
    assert_eq!(all(&mut second, 1).await[0].delivery_count, 0);
}

#[tokio::test]
async fn a_caller_that_gives_up_waiting_leaves_no_session_taken() {
    let (_broker, client) = session_stack().await;
    let wait = client.accept_next_session("orders", 1, SOON * 3);
    assert!(tokio::time::timeout(A_MOMENT, wait).await.is_err());
    send_to(&client, "s", &["a"]).await;
    // The abandoned attach gets the session and gives it back.
    let next = client.accept_next_session("orders", 1, SOON * 3).await;
    assert_eq!(next.unwrap().unwrap().session_id(), "s");
}

#[tokio::test]
async fn a_session_is_renewed_and_keeps_its_state() {
    let (_broker, client) = session_stack().await;
    let mut receiver = accept(&client, "s").await.unwrap();
    assert_eq!(receiver.state().await.unwrap(), None);
    let before = receiver.locked_until();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(receiver.renew_lock().await.unwrap() > before);
    receiver.set_state(Some("half".into())).await.unwrap();
    receiver.close().await.unwrap();
    let receiver = accept(&client, "s").await.unwrap();
    assert_eq!(receiver.state().await.unwrap(), Some("half".into()));
    receiver.set_state(None).await.unwrap();
    assert_eq!(receiver.state().await.unwrap(), None);
}

#[tokio::test]
async fn an_expired_session_is_lost_and_says_so_whatever_is_asked_of_it() {
    let (_broker, client) = stack_with(QueueConfig {
        requires_session: true,
        lock_duration: Duration::from_secs(1),
        ..QueueConfig::named("orders")
    })
    .await;
    send_to(&client, "s", &["a"]).await;
    let mut receiver = accept(&client, "s").await.unwrap();
    let message = all(&mut receiver, 1).await.remove(0);
    let lost = receiver.receive(1, SOON * 3).await.unwrap_err();
    assert_eq!(lost.class(), ErrorClass::SessionLost, "{lost}");
    let lost = receiver.settle(&message, Settlement::Complete).await;
    assert_eq!(lost.unwrap_err().class(), ErrorClass::SessionLost);
    let lost = receiver.renew_lock().await.unwrap_err();
    assert_eq!(lost.class(), ErrorClass::SessionLost);
    let mut again = accept(&client, "s").await.unwrap();
    assert_eq!(all(&mut again, 1).await[0].delivery_count, 1);
}

#[tokio::test]
async fn a_session_does_not_survive_its_connection_and_that_is_not_hidden() {
    let (broker, client) = stack_with(QueueConfig {
        requires_session: true,
        lock_duration: Duration::from_secs(2),
        ..QueueConfig::named("orders")
    })
    .await;
    send_to(&client, "s", &["a"]).await;
    let mut receiver = accept(&client, "s").await.unwrap();
    let message = all(&mut receiver, 1).await.remove(0);
    broker.drop_connections();
    let lost = receiver.receive(1, SOON * 3).await.unwrap_err();
    assert_eq!(lost.class(), ErrorClass::SessionLost, "{lost}");
    let lost = receiver.settle(&message, Settlement::Complete).await;
    assert_eq!(lost.unwrap_err().class(), ErrorClass::SessionLost);
    // The broker cannot know that nobody works on it; it waits for the lock.
    let next = client.accept_next_session("orders", 1, SOON * 3).await;
    let mut again = next.unwrap().unwrap();
    assert_eq!(all(&mut again, 1).await[0].delivery_count, 1);
}

#[tokio::test]
async fn nobody_else_settles_a_sessions_message_by_its_lock_token() {
    let (broker, client) = session_stack().await;
    send_to(&client, "s", &["a"]).await;
    let mut receiver = accept(&client, "s").await.unwrap();
    let message = all(&mut receiver, 1).await.remove(0);
    let other = client_of(&broker);
    let token = message.lock_token.unwrap();
    let refused = other.settle("orders", token, Settlement::Complete).await;
    assert_eq!(refused.unwrap_err().class(), ErrorClass::SessionLost);
    let complete = Settlement::Complete;
    receiver.settle(&message, complete).await.unwrap();
}

#[tokio::test]
async fn deferred_messages_are_found_and_settled_within_their_session() {
    let (broker, client) = session_stack().await;
    send_to(&client, "s", &["a"]).await;
    send_to(&client, "t", &["x"]).await;
    let mut receiver = accept(&client, "s").await.unwrap();
    let message = all(&mut receiver, 1).await.remove(0);
    receiver.settle(&message, defer()).await.unwrap();
    assert_eq!(ids(&receiver.peek(0, 10).await.unwrap()), ["a"]);
    let elsewhere = receiver.receive_deferred(&[2]).await.unwrap_err();
    assert_eq!(elsewhere.class(), ErrorClass::NotFound);
    let found = receiver.receive_deferred(&[message.sequence_number]).await;
    let found = found.unwrap();
    let complete = Settlement::Complete;
    receiver.settle(&found[0], complete).await.unwrap();
    assert_eq!(counts(&broker).active, 1);
    assert_eq!(counts(&broker).deferred, 0);
}

#[tokio::test]
async fn what_does_not_fit_the_entity_is_refused_for_good() {
    let (_broker, client) = session_stack().await;
    let unnamed = client.send("orders", message("a")).await.unwrap_err();
    assert_eq!(unnamed.class(), ErrorClass::Permanent, "{unnamed}");
    let plain = client.receiver("orders", ReceiveMode::PeekLock, 1).await;
    assert_eq!(plain.unwrap_err().class(), ErrorClass::Permanent);
    let (_broker, client) = stack().await;
    let no_sessions = accept(&client, "s").await.unwrap_err();
    assert_eq!(no_sessions.class(), ErrorClass::Permanent);
}
