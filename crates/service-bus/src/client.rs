//! The client: one connection to a namespace, shared by all its clones.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::connection_string::{ConnectionString, ConnectionStringError, Endpoint};
use crate::credential::Credential;
use crate::error::{Error, ErrorKind};
use crate::message::{OutgoingMessage, ReceivedMessage};
use crate::options::ClientOptions;
use crate::receiver::Receiver;
use crate::settlement::{ReceiveMode, Settlement};

/// A client of one Service Bus namespace.
///
/// Cheap to clone; the clones share one connection. It connects on first use, and again when the
/// connection or a link was lost, which the service does to every idle client as a matter of course.
#[derive(Debug, Clone)]
pub struct Client {}

impl Client {
    /// A client of the namespace at `endpoint`. Does no I/O.
    pub fn new(endpoint: Endpoint, credential: Credential, options: ClientOptions) -> Client {
        let _ = (endpoint, credential, options);
        Client {}
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

    /// Sends a message and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker did not confirm it within the deadline, or refused it. A retry may duplicate
    /// the message; see the crate's documentation.
    pub async fn send(&self, entity: &str, _message: OutgoingMessage) -> Result<(), Error> {
        Err(Error::new("send to", entity, ErrorKind::Closed))
    }

    /// Sends messages as one transfer: the broker takes all or none. Nothing is sent for no messages.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`TooLarge`](crate::ErrorClass::TooLarge) when they do not fit the
    /// entity's maximum message size together.
    pub async fn send_batch(
        &self,
        entity: &str,
        _messages: Vec<OutgoingMessage>,
    ) -> Result<(), Error> {
        Err(Error::new("send a batch to", entity, ErrorKind::Closed))
    }

    /// Schedules messages, each with its `scheduled_enqueue_time`, and returns the sequence numbers
    /// they can be cancelled by.
    ///
    /// # Errors
    /// As [`send`](Self::send); also when a message has no `scheduled_enqueue_time`.
    pub async fn schedule(
        &self,
        entity: &str,
        _messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<i64>, Error> {
        Err(Error::new("schedule on", entity, ErrorKind::Closed))
    }

    /// Removes scheduled messages that have not been enqueued yet.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorClass::NotFound) when one of them is not there any more.
    pub async fn cancel_scheduled(&self, entity: &str, _seq: &[i64]) -> Result<(), Error> {
        Err(Error::new(
            "cancel scheduled messages on",
            entity,
            ErrorKind::Closed,
        ))
    }

    /// Settles a message that somebody else received, by its lock token. Not for session entities.
    ///
    /// # Errors
    /// [`LockLost`](crate::ErrorClass::LockLost) when the lock is gone, which after a retry may mean
    /// that the first try succeeded.
    pub async fn settle(
        &self,
        entity: &str,
        _lock_token: Uuid,
        _settlement: Settlement,
    ) -> Result<(), Error> {
        Err(Error::new("settle a message of", entity, ErrorKind::Closed))
    }

    /// Renews a message's lock and returns when it ends now.
    ///
    /// # Errors
    /// [`LockLost`](crate::ErrorClass::LockLost) when the lock is gone.
    pub async fn renew_lock(
        &self,
        entity: &str,
        _lock_token: Uuid,
    ) -> Result<OffsetDateTime, Error> {
        Err(Error::new("renew a lock on", entity, ErrorKind::Closed))
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
        _from_sequence_number: i64,
        _max: u32,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        Err(Error::new("peek at", entity, ErrorKind::Closed))
    }

    /// Fetches deferred messages by their sequence numbers.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorClass::NotFound) when one of them is not there or not deferred.
    pub async fn receive_deferred(
        &self,
        entity: &str,
        _seq: &[i64],
        _mode: ReceiveMode,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        Err(Error::new(
            "receive deferred messages of",
            entity,
            ErrorKind::Closed,
        ))
    }

    /// Opens a receiver. Up to `credit` messages are fetched ahead of
    /// [`Receiver::receive`]; in peek-lock mode their locks run from then on.
    ///
    /// # Errors
    /// When the link cannot be attached within the deadline.
    pub async fn receiver(
        &self,
        entity: &str,
        _mode: ReceiveMode,
        _credit: u32,
    ) -> Result<Receiver, Error> {
        Err(Error::new("receive from", entity, ErrorKind::Closed))
    }

    /// Closes the connection, for all clones. Later calls fail.
    pub async fn close(&self) {}
}
