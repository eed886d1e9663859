//! The client against a peer that detaches idle links, as the service does after ten minutes, and
//! that refuses tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::peer::{Book, Peer};
use async_trait::async_trait;
use service_bus::{
    BearerToken, BoxError, Credential, ErrorClass, OutgoingMessage, ReceiveMode, TokenProvider,
};
use time::OffsetDateTime;

const IDLE: Duration = Duration::from_millis(50);
/// Long enough for an idle link to have been detached.
const LONGER: Duration = Duration::from_millis(200);

fn key() -> Credential {
    Credential::Sas {
        key_name: "k".into(),
        key: "s".into(),
    }
}

fn idle() -> Book {
    Book {
        idle: Some(IDLE),
        ..Book::default()
    }
}

#[tokio::test]
async fn a_sender_that_was_detached_for_being_idle_is_attached_again() {
    let (peer, client) = Peer::start(idle(), key()).await;
    for _ in 0..4 {
        client
            .send("orders", OutgoingMessage::new("x"))
            .await
            .unwrap();
        tokio::time::sleep(LONGER).await;
    }
    peer.book(|book| {
        assert_eq!(book.messages, 4);
        // Once more, perhaps, if the machine is so busy that a link is idle before it is used.
        assert!(book.attached["orders"] >= 4, "{:?}", book.attached);
        // One connection all along: its token is still good.
        assert_eq!(book.tokens.len(), 1);
    });
}

#[tokio::test]
async fn a_management_pair_of_which_one_half_was_detached_is_attached_again() {
    let (peer, client) = Peer::start(idle(), key()).await;
    for _ in 0..4 {
        assert_eq!(client.peek("orders", 0, 1).await.unwrap(), []);
        tokio::time::sleep(LONGER).await;
    }
    // Two links each time; more often if the machine is so busy that they are idle before their use.
    peer.book(|book| assert!(book.attached["orders/$management"] >= 8));
}

#[tokio::test]
async fn a_waiting_receiver_that_is_detached_goes_on_on_a_new_link() {
    let (peer, client) = Peer::start(idle(), key()).await;
    let mut receiver = client
        .receiver("orders", ReceiveMode::PeekLock, 1)
        .await
        .unwrap();
    tokio::spawn({
        let peer = peer.clone();
        async move {
            tokio::time::sleep(IDLE * 3).await;
            peer.book(|book| book.idle = None);
        }
    });
    let got = receiver.receive(1, Duration::from_secs(10)).await.unwrap();
    assert_eq!(got[0].body, "hello");
    assert!(peer.book(|book| book.attached["orders"]) > 1);
}

#[tokio::test]
async fn a_signed_token_is_put_once_for_each_entity() {
    let (peer, client) = Peer::start(Book::default(), key()).await;
    for entity in ["orders", "answers", "orders"] {
        client
            .send(entity, OutgoingMessage::new("x"))
            .await
            .unwrap();
        client.peek(entity, 0, 1).await.unwrap();
    }
    let puts = peer.book(|book| book.tokens.clone());
    let expected = ["orders", "answers"].map(|entity| {
        (
            "servicebus.windows.net:sastoken".to_owned(),
            format!("sb://127.0.0.1/{entity}"),
        )
    });
    assert_eq!(puts, expected);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_then_it_is_unauthorized() {
    let book = Book {
        token_statuses: [401, 401, 401, 202].into(),
        ..Book::default()
    };
    let (peer, client) = Peer::start(book, key()).await;
    let error = client
        .send("orders", OutgoingMessage::new("x"))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unauthorized, "{error}");
    assert_eq!(peer.book(|book| book.tokens.len()), 2);
    // The third is refused too, the fourth is not.
    client
        .send("orders", OutgoingMessage::new("x"))
        .await
        .unwrap();
}

/// Fails at first, and then has tokens.
struct Provider {
    failures: AtomicUsize,
    lifetime: Duration,
}

#[async_trait]
impl TokenProvider for Provider {
    async fn token(&self) -> Result<BearerToken, BoxError> {
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 {
            self.failures.store(left - 1, Ordering::SeqCst);
            return Err("the identity endpoint is down".into());
        }
        Ok(BearerToken {
            token: "jwt".into(),
            expires_at: OffsetDateTime::now_utc() + self.lifetime,
        })
    }
}

fn provider(failures: usize, lifetime: Duration) -> Credential {
    Credential::Token(Arc::new(Provider {
        failures: AtomicUsize::new(failures),
        lifetime,
    }))
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_asked_for_again() {
    let lifetime = Duration::from_secs(3600);
    let (peer, client) = Peer::start(Book::default(), provider(2, lifetime)).await;
    client
        .send("orders", OutgoingMessage::new("x"))
        .await
        .unwrap();
    let puts = peer.book(|book| book.tokens.clone());
    assert_eq!(
        puts,
        [("jwt".to_owned(), "sb://127.0.0.1/orders".to_owned())]
    );

    let (_peer, client) = Peer::start(Book::default(), provider(99, lifetime)).await;
    let error = client
        .send("orders", OutgoingMessage::new("x"))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("identity endpoint"), "{error}");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let lifetime = Duration::from_secs(4);
    let (peer, client) = Peer::start(Book::default(), provider(0, lifetime)).await;
    client
        .send("orders", OutgoingMessage::new("x"))
        .await
        .unwrap();
    while peer.book(|book| book.tokens.len()) < 2 {
        tokio::time::sleep(LONGER).await;
    }
    assert_eq!(peer.book(|book| book.attached["orders"]), 1);
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_while_the_old_token_is_good() {
    let book = Book {
        token_statuses: [202, 500, 202].into(),
        ..Book::default()
    };
    let lifetime = Duration::from_secs(10);
    let (peer, client) = Peer::start(book, provider(0, lifetime)).await;
    while peer.book(|book| book.tokens.len()) < 3 {
        client
            .send("orders", OutgoingMessage::new("x"))
            .await
            .unwrap();
        tokio::time::sleep(LONGER).await;
    }
    assert_eq!(peer.book(|book| book.attached["orders"]), 1);
}
