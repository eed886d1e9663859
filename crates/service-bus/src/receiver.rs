//! A receiver: a link that messages arrive on and are settled on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::client;
use crate::error::{Error, ErrorKind};
use crate::link::inlet::Inlet;
use crate::message::ReceivedMessage;
use crate::namespace::Namespace;
use crate::settlement::{ReceiveMode, Settlement};
use crate::tries::Tries;

const RECEIVE: &str = "receive from";
/// Longer waits are cut to this: it is for ever, and yet a time that can be reckoned with.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// Receives messages from one entity and settles them.
///
/// It fetches no further ahead than it was asked to: a call of [`receive`](Self::receive) lets the
/// broker send as many messages as it may return. Some of them may arrive after it returned; in
/// peek-lock mode their locks run while they wait for the next call. For throughput, ask for many.
///
/// Close it when done. A dropped receiver does in the background what [`close`](Self::close) does.
pub struct Receiver {
    namespace: Arc<Namespace>,
    entity: String,
    mode: ReceiveMode,
    credit: u32,
    link: Option<Inlet>,
    /// Arrived, and not handed out yet.
    ready: VecDeque<ReceivedMessage>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("entity", &self.entity)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    pub(crate) async fn open(
        namespace: Arc<Namespace>,
        entity: String,
        mode: ReceiveMode,
        credit: u32,
    ) -> Result<Self, Error> {
        let patience = namespace.options().operation_timeout;
        let mut tries = Tries::new(&namespace, RECEIVE, &entity, patience)?;
        let link = loop {
            if let Some(link) = tries.attempt(namespace.inlet(&entity, mode)).await? {
                break link;
            }
        };
        Ok(Self {
            namespace,
            entity,
            mode,
            credit: credit.max(1),
            link: Some(link),
            ready: VecDeque::new(),
        })
    }

    /// Up to `max` messages: returns as soon as there is at least one, or with none after `wait`.
    ///
    /// Cancel-safe: when the future is dropped, no message is lost; the next call returns it. A link
    /// that died is attached again. `wait` must leave the broker time to answer.
    ///
    /// # Errors
    /// When the link was lost and cannot be attached again, though tried for the operation's deadline
    /// beyond `wait`.
    pub async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ReceivedMessage>, Error> {
        if self.ready.is_empty() && max > 0 {
            self.fill(max, wait).await?;
        }
        // No await from here on: what leaves the queue reaches the caller.
        let count = self.ready.len().min(max);
        Ok(self.ready.drain(..count).collect())
    }

    /// Settles a message received in peek-lock mode, on the link it came on; over the management
    /// node when that link is gone.
    ///
    /// # Errors
    /// [`LockLost`](crate::ErrorClass::LockLost) when the lock is gone. If the link's answer was lost
    /// on the way, that may also mean that the message was settled as asked.
    pub async fn settle(
        &self,
        message: &ReceivedMessage,
        settlement: Settlement,
    ) -> Result<(), Error> {
        const OPERATION: &str = "settle a message of";
        let failed = |kind| Error::new(OPERATION, self.entity.as_str(), kind);
        let Some(lock_token) = message.lock_token else {
            let reason = "a message that is not locked cannot be settled";
            return Err(failed(ErrorKind::Invalid(reason.into())));
        };
        let _under_way = self.namespace.enter().map_err(failed)?;
        let options = self.namespace.options();
        let deadline = Instant::now() + options.operation_timeout;
        if let Some(link) = &self.link {
            let patience = options.try_timeout.min(options.operation_timeout);
            let settled = link.settle(lock_token, settlement.clone(), patience).await;
            if let Some(outcome) = settled {
                return outcome.map_err(failed);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        client::settle(&self.namespace, &self.entity, lock_token, settlement, left).await
    }

    /// Stops receiving and gives the messages not handed out back to the entity.
    ///
    /// # Errors
    /// When the broker does not answer in time; the link is gone all the same.
    pub async fn close(mut self) -> Result<(), Error> {
        let Some(link) = self.link.take() else {
            return Ok(());
        };
        let patience = self.namespace.options().try_timeout;
        wind_up(link, std::mem::take(&mut self.ready), patience)
            .await
            .map_err(|kind| Error::new("close the receiver of", self.entity.as_str(), kind))
    }

    /// Waits for messages, over as many links as it takes.
    async fn fill(&mut self, max: usize, wait: Duration) -> Result<(), Error> {
        let wait = wait.min(LONGEST_WAIT);
        let until = Instant::now() + wait;
        let (namespace, entity) = (self.namespace.clone(), self.entity.clone());
        let patience = wait + namespace.options().operation_timeout;
        let mut tries = Tries::new(&namespace, RECEIVE, &entity, patience)?;
        loop {
            let filling = async {
                let failure = match self.fill_once(max, until).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                };
                self.leave_link();
                if self.ready.is_empty() {
                    return Err(failure);
                }
                // If it stays, the failure will show again when these are dealt with.
                Ok(())
            };
            // A wait for messages may be long; a client that closes does not sit it out.
            let filled = tokio::select! {
                biased;
                filled = tries.attempt(filling) => filled?,
                () = namespace.closing() => {
                    return Err(Error::new(RECEIVE, entity.as_str(), ErrorKind::Closed));
                }
            };
            if let Some(()) = filled {
                return Ok(());
            }
        }
    }

    async fn fill_once(&mut self, max: usize, until: Instant) -> Result<(), ErrorKind> {
        if self.link.as_ref().is_some_and(Inlet::is_spent) {
            // The call before this one was dropped on its last lines.
            self.take_back_credit().await?;
            if !self.ready.is_empty() {
                return Ok(());
            }
        }
        let link = match &mut self.link {
            Some(link) => link,
            None => {
                let attached = self.namespace.inlet(&self.entity, self.mode).await?;
                self.link.insert(attached)
            }
        };
        link.fill(&mut self.ready, max, self.credit, until).await?;
        if self.mode == ReceiveMode::ReceiveAndDelete && link.has_credit() {
            // Whatever the broker may still send is deleted there as it is sent: take the credit
            // back, so that it reaches the caller instead of waiting here for a call that may not come.
            self.take_back_credit().await?;
        }
        Ok(())
    }

    /// Drains the link, and has it closed in the background.
    async fn take_back_credit(&mut self) -> Result<(), ErrorKind> {
        let patience = self.namespace.options().try_timeout;
        if let Some(link) = &mut self.link {
            let ready = &mut self.ready;
            link.drain(patience, |message| ready.push_back(message))
                .await?;
        }
        if let Some(spent) = self.link.take() {
            tokio::spawn(spent.close());
        }
        Ok(())
    }

    /// Winds the link up in the background: to just drop a link the broker may still send on would
    /// disturb the whole connection.
    fn leave_link(&mut self) {
        let patience = self.namespace.options().try_timeout;
        if let (Some(link), Ok(runtime)) = (self.link.take(), Handle::try_current()) {
            runtime.spawn(wind_up(link, VecDeque::new(), patience));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let patience = self.namespace.options().try_timeout;
        if let (Some(link), Ok(runtime)) = (self.link.take(), Handle::try_current()) {
            runtime.spawn(wind_up(link, std::mem::take(&mut self.ready), patience));
        }
    }
}

/// Drains a link, gives back what nobody was handed, and ends it.
async fn wind_up(
    mut link: Inlet,
    mut ready: VecDeque<ReceivedMessage>,
    patience: Duration,
) -> Result<(), ErrorKind> {
    let drained = link
        .drain(patience, |message| ready.push_back(message))
        .await;
    let releasing = async {
        for message in ready {
            match message.lock_token {
                Some(lock_token) => link.release(lock_token).await,
                // Only a `receive` that was dropped leaves one behind in receive-and-delete mode.
                None => tracing::warn!(
                    message.sequence_number,
                    "message {} was received and deleted, and never handed out",
                    message.sequence_number
                ),
            }
        }
    };
    // A broker that does not even read what it is sent lets the locks expire instead.
    let _ = timeout(patience, releasing).await;
    link.close().await;
    drained
}
