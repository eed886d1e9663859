//! Messages that are received.

use super::*;
use std::time::Instant;

#[tokio::test]
async fn an_empty_queue_gives_nothing_after_the_wait() {
    let (_broker, client) = stack().await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 5)
        .await
        .unwrap();
    assert_eq!(receiver.receive(5, A_MOMENT).await.unwrap(), []);
    assert_eq!(receiver.receive(0, SOON).await.unwrap(), []);
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_waiting_receiver_gets_a_message_as_soon_as_it_is_sent() {
    let (_broker, client) = stack().await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 5)
        .await
        .unwrap();
    let waiting = tokio::spawn(async move {
        let started = Instant::now();
        let got = receiver.receive(5, Duration::from_secs(60)).await.unwrap();
        (receiver, got, started.elapsed())
    });
    send(&client, &["m"]).await;
    let (receiver, got, waited) = waiting.await.unwrap();
    assert_eq!(ids(&got), ["m"]);
    assert!(
        waited < Duration::from_secs(30),
        "it waited for more: {waited:?}"
    );
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn no_more_is_fetched_than_was_asked_for() {
    let (broker, client) = stack().await;
    send(&client, &["a", "b", "c", "d", "e"]).await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 100)
        .await
        .unwrap();
    assert_eq!(receive_all(&mut receiver, 2).await.len(), 2);
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!((counts(&broker).locked, counts(&broker).active), (2, 3));
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    let (_broker, client) = stack().await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 10)
        .await
        .unwrap();
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let sending = tokio::spawn({
        let (client, names) = (client.clone(), names.clone());
        async move {
            for name in names {
                client.send("orders", message(&name)).await.unwrap();
            }
        }
    });
    let mut got = Vec::new();
    for patience in 0..400 {
        let receiving = receiver.receive(10, SOON);
        let patience = Duration::from_micros(patience * 7);
        if let Ok(messages) = tokio::time::timeout(patience, receiving).await {
            got.extend(messages.unwrap());
        }
    }
    sending.await.unwrap();
    got.extend(receive_all(&mut receiver, 100 - got.len()).await);
    assert_eq!(id_set(&got), names.into_iter().collect());
    assert!(got.iter().all(|message| message.delivery_count == 0));
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn what_a_closed_receiver_has_not_handed_out_goes_back() {
    let (broker, client) = stack().await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 10)
        .await
        .unwrap();
    assert_eq!(receiver.receive(10, A_MOMENT).await.unwrap(), []);
    send(&client, &["a", "b", "c"]).await;
    until(&broker, |counts| counts.locked == 3).await;
    receiver.close().await.unwrap();
    until(&broker, |counts| counts.active == 3 && counts.locked == 0).await;
    // And with its credit gone, later ones stay where they are.
    send(&client, &["d"]).await;
    tokio::time::sleep(A_MOMENT).await;
    assert_eq!(counts(&broker).active, 4);
}

#[tokio::test]
async fn a_receiver_that_is_dropped_in_full_flow_does_not_disturb_the_others() {
    let (broker, client) = stack().await;
    let batch = (0..500).map(|number| message(&number.to_string()));
    client.send_batch("orders", batch.collect()).await.unwrap();
    for _ in 0..10 {
        let mut receiver = client
            .receiver("orders", ReceiveMode::PeekLock, 50)
            .await
            .unwrap();
        let _ = tokio::time::timeout(Duration::from_micros(500), receiver.receive(50, SOON)).await;
        drop(receiver);
        send(&client, &["more"]).await;
    }
    assert_eq!(broker.counters("orders").unwrap().sent, 510);
}

#[tokio::test]
async fn received_and_deleted_messages_are_gone_and_only_those() {
    let (broker, client) = stack().await;
    send(&client, &["a", "b", "c"]).await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::ReceiveAndDelete, 10)
        .await
        .unwrap();
    let got = receive_all(&mut receiver, 2).await;
    assert_eq!(ids(&got), ["a", "b"]);
    assert_eq!(got[0].lock_token, None);
    assert_eq!(counts(&broker).active, 1);
    assert_eq!(receive_all(&mut receiver, 1).await.len(), 1);
    // It takes nothing while nobody asks: what comes now is still there after it is closed.
    assert_eq!(receiver.receive(5, A_MOMENT).await.unwrap(), []);
    send(&client, &["d"]).await;
    tokio::time::sleep(A_MOMENT).await;
    receiver.close().await.unwrap();
    assert_eq!(counts(&broker).active, 1);
}

#[tokio::test]
async fn peek_walks_a_queue_without_touching_it() {
    let (broker, client) = stack().await;
    send(&client, &["a", "b", "c"]).await;
    let later = message_at("later", Duration::from_secs(3600));
    client.send("orders", later).await.unwrap();
    let (receiver, _locked) = lock_one(&client).await;
    let mut seen = Vec::new();
    let mut from = 0;
    loop {
        let page = client.peek("orders", from, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.sequence_number + 1;
        seen.extend(page);
    }
    assert_eq!(ids(&seen), ["a", "b", "c", "later"]);
    assert!(seen.iter().all(|message| message.lock_token.is_none()));
    assert_eq!((counts(&broker).locked, counts(&broker).active), (1, 2));
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn every_message_of_a_busy_queue_is_received_once() {
    let (broker, client) = stack().await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 100)
        .await
        .unwrap();
    let sending = tokio::spawn({
        let client = client.clone();
        async move {
            for hundred in 0..20 {
                let batch = (0..100).map(|number| message(&format!("{hundred}-{number}")));
                client.send_batch("orders", batch.collect()).await.unwrap();
            }
        }
    });
    let mut got = Vec::new();
    while got.len() < 2000 {
        for message in receive_all(&mut receiver, 1).await {
            receiver
                .settle(&message, Settlement::Complete)
                .await
                .unwrap();
            got.push(message);
        }
        let more = receiver.receive(100, SOON).await.unwrap();
        for message in more {
            receiver
                .settle(&message, Settlement::Complete)
                .await
                .unwrap();
            got.push(message);
        }
    }
    sending.await.unwrap();
    assert_eq!(id_set(&got).len(), 2000);
    assert_eq!(counts(&broker), QueueCounts::default());
    receiver.close().await.unwrap();
}
