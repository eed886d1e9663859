//! The client against a peer that sends what would exhaust its stack or its memory.

use std::time::Duration;

use crate::peer::{Book, Hostile, Peer};
use service_bus::{Client, Credential, ErrorClass, OutgoingMessage, ReceiveMode};

const LONG: Duration = Duration::from_secs(60);

async fn start() -> (Peer, Client) {
    let key = Credential::Sas {
        key_name: "k".into(),
        key: "s".into(),
    };
    Peer::start(Book::default(), key).await
}

/// A list in a list in a list, so many in all.
fn nested(depth: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for inner in (0..depth - 1).rev() {
        bytes.push(0xd0);
        bytes.extend((4 + 9 * inner + 1).to_be_bytes());
        bytes.extend(1u32.to_be_bytes());
    }
    bytes.push(0x45);
    bytes
}

/// A message whose body is such a list.
fn message(depth: u32) -> Vec<u8> {
    [&[0x00, 0x53, 0x77], &nested(depth)[..]].concat()
}

async fn is_well(peer: &Peer, client: &Client) {
    peer.book(|book| book.hostile = None);
    client
        .send("orders", OutgoingMessage::new("x"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_message_nested_too_deeply_breaks_the_connection_and_not_the_process() {
    let (peer, client) = start().await;
    for depth in [1000, 100_000] {
        is_well(&peer, &client).await;
        let connections = peer.book(|book| book.tokens.len());
        let mut receiver = client
            .receiver("orders", ReceiveMode::PeekLock, 1)
            .await
            .unwrap();
        // The first of its messages has come by now, and perhaps the connection has broken already.
        peer.book(|book| book.hostile = Some(Hostile::Message(message(depth))));
        let refused = loop {
            match receiver.receive(1, LONG).await {
                Ok(_) => {
                    let again = client.receiver("orders", ReceiveMode::PeekLock, 1).await;
                    match again {
                        Ok(again) => receiver = again,
                        Err(error) => break error,
                    }
                }
                Err(error) => break error,
            }
        };
        assert_eq!(refused.class(), ErrorClass::Transient, "{refused}");
        is_well(&peer, &client).await;
        assert!(peer.book(|book| book.tokens.len()) > connections);
    }
}

#[tokio::test]
async fn an_answer_nested_too_deeply_fails_the_call_and_the_next_one_connects_again() {
    let (peer, client) = start().await;
    for depth in [1000, 100_000] {
        is_well(&peer, &client).await;
        client.peek("orders", 0, 1).await.unwrap();
        peer.book(|book| book.hostile = Some(Hostile::Message(message(depth))));
        let refused = client.peek("orders", 0, 1).await.unwrap_err();
        assert!(refused.to_string().contains("nested"), "{refused}");
        assert_eq!(refused.class(), ErrorClass::Transient);
        is_well(&peer, &client).await;
        client.peek("orders", 0, 1).await.unwrap();
    }
}

#[tokio::test]
async fn an_attach_nested_too_deeply_fails_the_call_and_the_next_one_connects_again() {
    let (peer, client) = start().await;
    // As deep as a frame has room for.
    for depth in [1000, 7000] {
        is_well(&peer, &client).await;
        peer.book(|book| book.hostile = Some(Hostile::Attach(nested(depth))));
        let to = format!("invoices-{depth}");
        let refused = client.send(&to, OutgoingMessage::new("x")).await;
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("nested"), "{refused}");
        is_well(&peer, &client).await;
    }
}

#[tokio::test]
async fn a_frame_larger_than_we_take_fails_the_call_and_the_next_one_connects_again() {
    let (peer, client) = start().await;
    for size in [64 * 1024 + 1, u32::MAX] {
        is_well(&peer, &client).await;
        client.peek("orders", 0, 1).await.unwrap();
        peer.book(|book| book.hostile = Some(Hostile::FrameSize(size)));
        let refused = client.peek("orders", 0, 1).await.unwrap_err();
        assert!(refused.to_string().contains("frame of"), "{refused}");
        is_well(&peer, &client).await;
    }
}
