//! The client: one connection to a namespace, shared by all its clones.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::connection_string::{ConnectionString, ConnectionStringError, Endpoint};
use crate::credential::Credential;
use crate::error::{Error, ErrorKind};
use crate::link::outlet::Outbound;
use crate::message::{OutgoingMessage, ReceivedMessage};
use crate::namespace::Namespace;
use crate::options::ClientOptions;
use crate::receiver::Receiver;
use crate::rule::SubscriptionRule;
use crate::session_receiver::SessionReceiver;
use crate::settlement::{ReceiveMode, Settlement};
use crate::wire::management::{Request, Response};
use crate::wire::outgoing;
use crate::wire::session::Ask;

/// A client of one Service Bus namespace.
///
/// Cheap to clone; the clones share one connection. It connects on first use, and again when the
/// connection or a link was lost, which the service does to every idle client as a matter of course.
/// Calls may run concurrently: those to one entity share one link and do not wait for each other.
///
/// Entities are named by their path: `orders`, `topic/subscriptions/name`, or what
/// [`dead_letter_queue`](crate::dead_letter_queue) makes of those.
#[derive(Clone)]
pub struct Client {
    namespace: Arc<Namespace>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", self.namespace.endpoint())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the namespace at `endpoint`. Does no I/O.
    pub fn new(endpoint: Endpoint, credential: Credential, options: ClientOptions) -> Client {
        Client {
            namespace: Arc::new(Namespace::new(endpoint, credential, options)),
        }
    }

    /// A client from a connection string. Does no I/O; the string's `EntityPath` is ignored.
    ///
    /// # Errors
    /// When the string cannot be understood.
    pub fn from_connection_string(
        text: &str,
        options: ClientOptions,
    ) -> Result<Client, ConnectionStringError> {
        let parsed: ConnectionString = text.parse()?;
        Ok(Self::new(parsed.endpoint, parsed.credential, options))
    }

    /// Host name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace.endpoint().host
    }

    /// Sends a message and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker did not confirm it within the deadline, or refused it. A retry may duplicate
    /// the message; see the crate's documentation.
    pub async fn send(&self, entity: &str, message: OutgoingMessage) -> Result<(), Error> {
        let message = Outbound::new(outgoing::message(message), outgoing::SINGLE);
        self.namespace.send("send to", entity, message).await
    }

    /// Sends messages as one transfer: the broker takes all or none. Nothing is sent for no messages.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`TooLarge`](crate::ErrorClass::TooLarge) when they do not fit the
    /// entity's maximum message size together.
    pub async fn send_batch(
        &self,
        entity: &str,
        messages: Vec<OutgoingMessage>,
    ) -> Result<(), Error> {
        const OPERATION: &str = "send a batch to";
        if messages.is_empty() {
            return Ok(());
        }
        let batch =
            outgoing::batch(messages).map_err(|kind| Error::new(OPERATION, entity, kind))?;
        let message = Outbound::new(batch, outgoing::BATCH);
        self.namespace.send(OPERATION, entity, message).await
    }

    /// Schedules messages, each with its `scheduled_enqueue_time`, and returns the sequence numbers
    /// they can be cancelled by. (A message with that time may also just be [sent](Self::send); that
    /// tells no number, but shares the link of other sends.)
    ///
    /// # Errors
    /// As [`send`](Self::send); also when a message has no `scheduled_enqueue_time`.
    pub async fn schedule(
        &self,
        entity: &str,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<i64>, Error> {
        const OPERATION: &str = "schedule on";
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let request =
            Request::schedule(messages).map_err(|kind| Error::new(OPERATION, entity, kind))?;
        self.namespace
            .manage(OPERATION, entity, request, Response::sequence_numbers)
            .await
    }

    /// Removes scheduled messages that have not been enqueued yet.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorClass::NotFound) when one of them is not there any more.
    pub async fn cancel_scheduled(&self, entity: &str, seq: &[i64]) -> Result<(), Error> {
        if seq.is_empty() {
            return Ok(());
        }
        let request = Request::cancel_scheduled(seq);
        self.namespace
            .manage("cancel scheduled messages of", entity, request, done)
            .await
    }

    /// Settles a message that somebody else received, by its lock token. Not for session entities.
    ///
    /// # Errors
    /// [`LockLost`](crate::ErrorClass::LockLost) when the lock is gone. After a retry within the call
    /// that may also mean that the first try succeeded and only its answer was lost.
    pub async fn settle(
        &self,
        entity: &str,
        lock_token: Uuid,
        settlement: Settlement,
    ) -> Result<(), Error> {
        let patience = self.namespace.options().operation_timeout;
        settle(&self.namespace, entity, lock_token, settlement, patience).await
    }

    /// Renews a message's lock and returns when it ends now.
    ///
    /// # Errors
    /// [`LockLost`](crate::ErrorClass::LockLost) when the lock is gone.
    pub async fn renew_lock(
        &self,
        entity: &str,
        lock_token: Uuid,
    ) -> Result<OffsetDateTime, Error> {
        let request = Request::renew_lock(lock_token);
        self.namespace
            .manage("renew a lock of", entity, request, Response::expiration)
            .await
    }

    /// Looks at up to `max` messages from a sequence number on, without locking them: also scheduled
    /// and deferred ones. The broker may return fewer than there are; ask again from the number after
    /// the last one until nothing comes.
    ///
    /// # Errors
    /// When the broker refused or did not answer in time.
    pub async fn peek(
        &self,
        entity: &str,
        from_sequence_number: i64,
        max: u32,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let request = Request::peek(from_sequence_number, max);
        self.namespace
            .manage("peek at", entity, request, Response::peeked)
            .await
    }

    /// Fetches deferred messages by their sequence numbers. In receive-and-delete mode they are gone
    /// from the entity even if the answer gets lost.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorClass::NotFound) when one of them is not there or not deferred.
    pub async fn receive_deferred(
        &self,
        entity: &str,
        seq: &[i64],
        mode: ReceiveMode,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        if seq.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request::receive_deferred(seq, mode);
        self.namespace
            .manage(
                "receive deferred messages of",
                entity,
                request,
                Response::messages,
            )
            .await
    }

    /// The rules of a subscription, named by its path (`topic/subscriptions/name`).
    ///
    /// # Errors
    /// When the broker refused (the entity is no subscription) or did not answer in time.
    pub async fn rules(&self, entity: &str) -> Result<Vec<SubscriptionRule>, Error> {
        const PAGE: u32 = 100;
        let mut rules = Vec::new();
        loop {
            let request = Request::rules(u32::try_from(rules.len()).unwrap_or(u32::MAX), PAGE);
            let page = self
                .namespace
                .manage("read the rules of", entity, request, Response::rules);
            let page = page.await?;
            let is_last = page.len() < PAGE as usize;
            rules.extend(page);
            if is_last {
                return Ok(rules);
            }
        }
    }

    /// Opens a receiver; see [`Receiver`]. At most `credit` messages (at least one) are on their way
    /// to it at a time.
    ///
    /// # Errors
    /// When the link cannot be attached within the deadline.
    pub async fn receiver(
        &self,
        entity: &str,
        mode: ReceiveMode,
        credit: u32,
    ) -> Result<Receiver, Error> {
        Receiver::open(self.namespace.clone(), entity.to_owned(), mode, credit).await
    }

    /// Accepts a session by its id, whether it has messages or not; see [`SessionReceiver`]. At most
    /// `credit` messages (at least one) are on their way to it at a time.
    ///
    /// # Errors
    /// With the condition `com.microsoft:session-cannot-be-locked`, at once, when another receiver
    /// holds it.
    pub async fn accept_session(
        &self,
        entity: &str,
        session_id: &str,
        credit: u32,
    ) -> Result<SessionReceiver, Error> {
        let ask = Ask::Named(session_id.to_owned());
        let accepted =
            SessionReceiver::accept(self.namespace.clone(), entity.to_owned(), ask, credit).await?;
        accepted.ok_or_else(|| {
            let reason = "no time left for a named session".to_owned();
            Error::new("accept a session of", entity, ErrorKind::Protocol(reason))
        })
    }

    /// Accepts the next session that nobody holds and that has messages; `None` if there is none
    /// within `wait`.
    ///
    /// # Errors
    /// When the broker refused, or did not answer in the operation's time beyond `wait`.
    pub async fn accept_next_session(
        &self,
        entity: &str,
        credit: u32,
        wait: Duration,
    ) -> Result<Option<SessionReceiver>, Error> {
        let ask = Ask::Next(wait);
        SessionReceiver::accept(self.namespace.clone(), entity.to_owned(), ask, credit).await
    }

    /// Closes the client, for all clones. Later calls fail, and a [`receive`](Receiver::receive) that
    /// waits. Other calls under way have [`ClientOptions::close_timeout`] to end; then the connection
    /// is closed. Receivers are best closed before: what they hold stays locked.
    pub async fn close(&self) {
        self.namespace.close().await;
    }
}

/// Settles by lock token over the entity's management node, within `patience`.
pub(crate) async fn settle(
    namespace: &Arc<Namespace>,
    entity: &str,
    lock_token: Uuid,
    settlement: Settlement,
    patience: Duration,
) -> Result<(), Error> {
    let request = Request::update_disposition(lock_token, settlement);
    namespace
        .manage_within(patience, "settle a message of", entity, request, done)
        .await
}

fn done(response: Response) -> Result<(), ErrorKind> {
    response.success().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_credential() {
        let text = "Endpoint=sb://h;SharedAccessKeyName=k;SharedAccessKey=hush";
        let client = Client::from_connection_string(text, ClientOptions::default()).unwrap();
        let shown = format!("{client:?}");
        assert!(shown.contains("5671") && !shown.contains("hush"), "{shown}");
    }

    #[tokio::test]
    async fn calls_for_nothing_do_no_io() {
        let text = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true";
        let client = Client::from_connection_string(text, ClientOptions::default()).unwrap();
        client.send_batch("q", vec![]).await.unwrap();
        assert_eq!(client.schedule("q", vec![]).await.unwrap(), []);
        client.cancel_scheduled("q", &[]).await.unwrap();
        assert_eq!(client.peek("q", 0, 0).await.unwrap(), []);
    }

    /// Callers spawn these. That is decided where the futures are made, and easily lost.
    #[test]
    fn every_call_may_be_moved_between_threads() {
        fn sendable<T: Send>(_: T) {}
        let text = "Endpoint=sb://h;SharedAccessKeyName=k;SharedAccessKey=s";
        let client = Client::from_connection_string(text, ClientOptions::default()).unwrap();
        let token = Uuid::nil();
        sendable(client.send("q", OutgoingMessage::default()));
        sendable(client.send_batch("q", vec![]));
        sendable(client.schedule("q", vec![]));
        sendable(client.cancel_scheduled("q", &[]));
        sendable(client.settle("q", token, Settlement::Complete));
        sendable(client.renew_lock("q", token));
        sendable(client.peek("q", 0, 1));
        sendable(client.rules("t/subscriptions/s"));
        sendable(client.receive_deferred("q", &[], ReceiveMode::PeekLock));
        sendable(async {
            let mut session = client.accept_session("q", "s", 1).await?;
            let next = client.accept_next_session("q", 1, Duration::ZERO).await?;
            for message in session.receive(1, Duration::ZERO).await? {
                session.settle(&message, Settlement::Complete).await?;
            }
            session.renew_lock().await?;
            drop(next);
            session.close().await
        });
        sendable(async {
            let mut receiver = client.receiver("q", ReceiveMode::PeekLock, 1).await?;
            for message in receiver.receive(1, Duration::ZERO).await? {
                receiver.settle(&message, Settlement::Complete).await?;
            }
            receiver.close().await
        });
    }

    #[tokio::test]
    async fn after_close_every_call_fails_at_once() {
        let text = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true";
        let client = Client::from_connection_string(text, ClientOptions::default()).unwrap();
        client.close().await;
        // Spawned, to hold the calls' futures to being Send.
        let sent = tokio::spawn({
            let client = client.clone();
            async move { client.send("q", OutgoingMessage::new("x")).await }
        });
        let error = sent.await.unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Closed), "{error}");
        let receiver = client.receiver("q", ReceiveMode::PeekLock, 1).await;
        assert!(receiver.is_err());
    }
}
