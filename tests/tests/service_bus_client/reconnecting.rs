//! Connections that break.

use super::*;
use service_bus::ErrorClass;
use tokio::task::JoinSet;

/// A broker at the address of one that has just stopped.
async fn start_again(config: BrokerConfig) -> Broker {
    for _ in 0..100 {
        match Broker::start(config.clone()).await {
            Ok(broker) => return broker,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("the port stays taken");
}

#[tokio::test]
async fn every_operation_survives_a_broken_connection() {
    let (broker, client) = stack().await;
    send(&client, &["a", "b", "c", "d"]).await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 10)
        .await
        .unwrap();
    let got = receive_all(&mut receiver, 3).await;
    client.peek("orders", 0, 1).await.unwrap();

    broker.drop_connections();
    send(&client, &["e"]).await;
    broker.drop_connections();
    assert_eq!(client.peek("orders", 0, 10).await.unwrap().len(), 5);
    broker.drop_connections();
    let later = vec![message_at("later", Duration::from_secs(3600))];
    client.schedule("orders", later).await.unwrap();
    broker.drop_connections();
    client
        .renew_lock("orders", got[0].lock_token.unwrap())
        .await
        .unwrap();
    broker.drop_connections();
    client
        .settle("orders", got[0].lock_token.unwrap(), Settlement::Complete)
        .await
        .unwrap();
    broker.drop_connections();
    // On a link that is gone: over the management node, then.
    receiver
        .settle(&got[1], Settlement::Complete)
        .await
        .unwrap();
    broker.drop_connections();
    assert_eq!(receive_all(&mut receiver, 2).await.len(), 2);
    // On a new link, a delivery of the old one.
    receiver
        .settle(&got[2], Settlement::Complete)
        .await
        .unwrap();
    assert_eq!(broker.counters("orders").unwrap().completed, 3);
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_waits_goes_on_waiting_on_a_new_connection() {
    let (broker, client) = stack().await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 5)
        .await
        .unwrap();
    let waiting = tokio::spawn(async move {
        let got = receiver.receive(5, Duration::from_secs(20)).await.unwrap();
        (receiver, got)
    });
    tokio::time::sleep(A_MOMENT).await;
    broker.drop_connections();
    tokio::time::sleep(A_MOMENT).await;
    send(&client, &["m"]).await;
    let (receiver, got) = waiting.await.unwrap();
    assert_eq!(ids(&got), ["m"]);
    receiver
        .settle(&got[0], Settlement::Complete)
        .await
        .unwrap();
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn sends_in_full_flow_survive_broken_connections() {
    let (broker, client) = stack().await;
    let mut sends = JoinSet::new();
    for number in 0..500_u64 {
        let client = client.clone();
        sends.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number)).await;
            client.send("orders", message(&number.to_string())).await
        });
    }
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        broker.drop_connections();
    }
    while let Some(sent) = sends.join_next().await {
        sent.unwrap().unwrap();
    }
    // At least once each: an answer that was lost makes a duplicate.
    let peeked = client.peek("orders", 0, 1000).await.unwrap();
    assert_eq!(id_set(&peeked).len(), 500);
}

#[tokio::test]
async fn a_restarted_broker_is_found_again() {
    let mut config = BrokerConfig::with_queues(["orders"]);
    let broker = Broker::start(config.clone()).await.unwrap();
    config.listen = broker.addr();
    let client = client_of(&broker);
    send(&client, &["before"]).await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 5)
        .await
        .unwrap();
    receive_one(&mut receiver).await;

    broker.shutdown().await;
    let broker = start_again(config.clone()).await;
    send(&client, &["after"]).await;
    assert_eq!(ids(&[receive_one(&mut receiver).await]), ["after"]);

    // Also by a call that finds nobody there at first.
    broker.shutdown().await;
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send("orders", message("meanwhile")).await }
    });
    tokio::time::sleep(A_MOMENT).await;
    let _broker = start_again(config).await;
    sending.await.unwrap().unwrap();
    assert_eq!(ids(&[receive_one(&mut receiver).await]), ["meanwhile"]);
    receiver.close().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_stays_away_fails_every_call_within_its_bounds() {
    let (broker, _) = stack().await;
    let options = ClientOptions {
        retries: 2,
        ..ClientOptions::default()
    };
    let text = broker.connection_string();
    let client = Client::from_connection_string(&text, options).unwrap();
    send(&client, &["m"]).await;
    broker.shutdown().await;
    let error = client.send("orders", message("n")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_broker_that_accepts_and_stays_silent_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = format!(
        "Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true"
    );
    let options = ClientOptions {
        connect_timeout: Duration::from_millis(200),
        operation_timeout: Duration::from_secs(1),
        ..ClientOptions::default()
    };
    let client = Client::from_connection_string(&text, options).unwrap();
    let error = client.send("orders", message("m")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn a_closed_client_lets_the_broker_know_and_takes_no_more_calls() {
    let (_broker, client) = stack().await;
    send(&client, &["m"]).await;
    client.close().await;
    let error = client.send("orders", message("n")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
}
