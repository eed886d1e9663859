//! Calls that are under way: how many at a time, in which order, given up at any moment, and caught
//! by the client's end.

use std::pin::pin;
use std::time::Duration;

use crate::peer::{Book, Peer};
use futures_util::future::join_all;
use futures_util::poll;
use service_bus::{Client, ClientOptions, Credential, ErrorKind, OutgoingMessage, ReceiveMode};
use tokio::time::timeout;

/// A test that waits for so long hangs.
const HANG: Duration = Duration::from_secs(60);
const GIVE_UP: Duration = Duration::from_millis(100);

async fn start(book: Book, options: ClientOptions) -> (Peer, Client) {
    let key = Credential::Sas {
        key_name: "k".into(),
        key: "s".into(),
    };
    Peer::start_with(book, key, options).await
}

fn message(id: impl ToString) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Some(id.to_string()),
        ..OutgoingMessage::new("x")
    }
}

/// Polls a future so many times, with time for everybody else in between, and drops it.
async fn poll_and_drop(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll!(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_send_given_up_at_any_await_leaves_the_link_usable() {
    let (peer, client) = start(Book::default(), ClientOptions::default()).await;
    for polls in 0..60 {
        poll_and_drop(polls, client.send("orders", message("given up"))).await;
        client.send("orders", message("sent")).await.unwrap();
    }
    peer.book(|book| {
        assert_eq!((book.attached["orders"], book.tokens.len()), (1, 1));
        assert_eq!(book.ids.iter().filter(|id| *id == "sent").count(), 60);
    });
}

#[tokio::test]
async fn a_request_given_up_at_any_await_leaves_its_links_usable() {
    let (peer, client) = start(Book::default(), ClientOptions::default()).await;
    for polls in 0..60 {
        poll_and_drop(polls, client.peek("orders", 0, 1)).await;
        assert_eq!(client.peek("orders", 0, 1).await.unwrap(), []);
    }
    peer.book(|book| assert_eq!(book.attached["orders/$management"], 2));
}

#[tokio::test]
async fn a_receive_given_up_at_any_await_loses_no_message() {
    for polls in 0..40 {
        let (_peer, client) = start(Book::default(), ClientOptions::default()).await;
        let opening = client.receiver("orders", ReceiveMode::PeekLock, 1);
        let mut receiver = opening.await.unwrap();
        {
            // The peer has one message. Whoever gets it, keeps it.
            let mut receiving = pin!(receiver.receive(1, HANG));
            let mut came = false;
            for _ in 0..polls {
                came = poll!(&mut receiving).is_ready();
                if came {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if came {
                continue;
            }
        }
        assert_eq!(receiver.receive(1, HANG).await.unwrap().len(), 1, "{polls}");
    }
}

#[tokio::test]
async fn concurrent_sends_leave_in_the_order_they_were_begun() {
    let (peer, client) = start(Book::default(), ClientOptions::default()).await;
    client.send("orders", message("first")).await.unwrap();
    let sends = (0..1000).map(|number| client.send("orders", message(number)));
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    peer.book(|book| assert_eq!(book.ids[1..], expected));
}

#[tokio::test]
async fn no_more_sends_are_on_their_way_than_the_window_allows_also_when_callers_give_up() {
    let book = Book {
        mute: true,
        ..Book::default()
    };
    let options = ClientOptions {
        send_window: 4,
        operation_timeout: HANG,
        try_timeout: HANG,
        ..ClientOptions::default()
    };
    let (peer, client) = start(book, options).await;
    for number in 0..20 {
        let sent = timeout(GIVE_UP, client.send("orders", message(number))).await;
        assert!(sent.is_err());
    }
    peer.book(|book| assert!(book.messages <= 4, "{} messages", book.messages));
}

#[tokio::test]
async fn a_link_whose_answers_nobody_waits_for_any_more_is_given_up_when_none_comes() {
    let book = Book {
        mute: true,
        ..Book::default()
    };
    let options = ClientOptions {
        send_window: 2,
        operation_timeout: HANG,
        try_timeout: Duration::from_secs(1),
        ..ClientOptions::default()
    };
    let (peer, client) = start(book, options).await;
    for number in 0..4 {
        let _ = timeout(GIVE_UP, client.send("orders", message(number))).await;
    }
    peer.book(|book| book.mute = false);
    // The window is full of what nobody waits for.
    client.send("orders", message("late")).await.unwrap();
    peer.book(|book| assert!(book.attached["orders"] > 1, "{:?}", book.attached));
}

#[tokio::test]
async fn closing_waits_for_calls_under_way_and_takes_no_more() {
    let book = Book {
        late: Duration::from_secs(1),
        ..Book::default()
    };
    let (peer, client) = start(book, ClientOptions::default()).await;
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send("orders", message("under way")).await }
    });
    while peer.book(|book| !book.attached.contains_key("orders")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    while client.peek("orders", 0, 1).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let error = client
        .send("orders", message("too late"))
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
    sending.await.unwrap().unwrap();
    timeout(HANG, closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn closing_does_not_wait_longer_than_it_may() {
    let book = Book {
        mute: true,
        ..Book::default()
    };
    let options = ClientOptions {
        operation_timeout: HANG,
        try_timeout: HANG,
        close_timeout: GIVE_UP,
        ..ClientOptions::default()
    };
    let (peer, client) = start(book, options).await;
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send("orders", message("never answered")).await }
    });
    while peer.book(|book| book.messages == 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    timeout(HANG / 2, client.close()).await.unwrap();
    assert!(timeout(HANG / 2, sending).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_receive_that_waits_ends_when_the_client_closes() {
    let book = Book {
        idle: Some(HANG),
        ..Book::default()
    };
    let (_peer, client) = start(book, ClientOptions::default()).await;
    let opening = client.receiver("orders", ReceiveMode::PeekLock, 1);
    let mut receiver = opening.await.unwrap();
    let receiving = tokio::spawn(async move { receiver.receive(1, 10 * HANG).await });
    tokio::time::sleep(GIVE_UP).await;
    timeout(HANG, client.close()).await.unwrap();
    let error = timeout(HANG, receiving)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
}
