//! A receiver: a link that messages arrive on and are settled on.

use std::time::Duration;

use crate::error::Error;
use crate::message::ReceivedMessage;
use crate::settlement::Settlement;

/// Receives messages from one entity and settles them.
#[derive(Debug)]
pub struct Receiver {}

impl Receiver {
    /// Up to `max` messages: returns as soon as there is at least one, or with none after `wait`.
    ///
    /// Cancel-safe: when the future is dropped, no message is lost; the next call returns it. A link
    /// that died is attached again.
    ///
    /// # Errors
    /// When the link is lost and cannot be attached again within the operation's deadline.
    pub async fn receive(
        &mut self,
        _max: usize,
        _wait: Duration,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        Ok(Vec::new())
    }

    /// Settles a message received in peek-lock mode, on the link it came on; over the management
    /// node when that link is gone.
    ///
    /// # Errors
    /// [`LockLost`](crate::ErrorClass::LockLost) when the lock is gone.
    pub async fn settle(
        &self,
        _message: &ReceivedMessage,
        _settlement: Settlement,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Stops receiving and gives the messages not yet handed out back to the entity.
    ///
    /// # Errors
    /// When the broker does not answer in time; the link is gone all the same.
    pub async fn close(self) -> Result<(), Error> {
        Ok(())
    }
}
