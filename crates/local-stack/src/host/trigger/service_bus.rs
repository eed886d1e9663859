//! Feeds a Service Bus function: receive, invoke, settle (azure-sdk-for-net `ServiceBusListener`).
//!
//! Here one message is one invocation; `batch` has `cardinality: many`, `sessions` the session trigger.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use service_bus::{
    Client, ErrorClass, Properties, ReceiveMode, ReceivedMessage, Receiver, Settlement,
};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::renewal::keep_lock;
use crate::host::config::{FunctionConfig, ServiceBusTriggerConfig};
use crate::host::encode::{BusClient, Sys, encode_message};
use crate::host::invoke::Dispatcher;
use crate::host::process::LineLevel;

/// How long one receive waits; nothing happens when it is over but another one.
pub(super) const RECEIVE_WAIT: Duration = Duration::from_secs(60);
/// The pause after the broker could not be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// One Service Bus function of a running host.
pub(crate) struct ServiceBusListener {
    pub(crate) function: Arc<FunctionConfig>,
    pub(crate) config: ServiceBusTriggerConfig,
    pub(crate) client: Client,
    pub(crate) shown_client: BusClient,
    pub(crate) dispatcher: Dispatcher,
}

/// A message whose invocation has ended, and what becomes of it; `None` leaves it to its lock.
pub(super) type Finished = (ReceivedMessage, Option<Settlement>);

impl ServiceBusListener {
    /// Runs until `stop`, then takes no more messages and waits for the invocations under way.
    pub(crate) async fn run(self, stop: CancellationToken) {
        match self.config.batch {
            Some(max) => self.in_batches(max, stop).await,
            None if self.config.sessions => self.by_session(stop).await,
            None => self.one_by_one(stop).await,
        }
    }

    /// The settlements go through the one link that the messages came on, which is why everything
    /// happens in this loop: while it settles it does not receive, but what arrives waits on the link.
    async fn one_by_one(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let host = &this.dispatcher.host;
        let credit = u32::try_from(host.max_concurrent_calls).unwrap_or(u32::MAX);
        let credit = credit.saturating_add(host.prefetch_count);
        let Some(mut receiver) = this.attach(credit, &stop).await else {
            return;
        };
        let slots = this.dispatcher.host.max_concurrent_calls;
        let prefetch = this.dispatcher.host.prefetch_count as usize;
        let mut running: JoinSet<Finished> = JoinSet::new();
        // What is left in here at the end is left to its lock, as prefetched messages are.
        let mut waiting = VecDeque::new();
        while !stop.is_cancelled() || !running.is_empty() {
            let room = (slots + prefetch).saturating_sub(running.len() + waiting.len());
            tokio::select! {
                Some(finished) = running.join_next() => {
                    let mut all = Vec::from_iter(finished.ok());
                    while let Some(finished) = running.try_join_next() {
                        all.extend(finished.ok());
                    }
                    let settling: Vec<_> =
                        all.into_iter().map(|finished| this.settle(&receiver, finished)).collect();
                    join_all(settling).await;
                }
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                received = receiver.receive(room, RECEIVE_WAIT), if room > 0 && !stop.is_cancelled() => {
                    match received {
                        Ok(messages) => waiting.extend(messages),
                        Err(error) => this.pause_after(&error, &stop).await,
                    }
                }
            }
            while running.len() < slots
                && !stop.is_cancelled()
                && let Some(message) = waiting.pop_front()
            {
                running.spawn(Arc::clone(&this).process(message));
            }
        }
        this.close(receiver).await;
    }

    pub(super) async fn close(&self, receiver: Receiver) {
        if let Err(error) = receiver.close().await {
            let text = format!("closing the receiver: {error}");
            self.dispatcher.log.host(LineLevel::Warning, text);
        }
    }

    /// Opens the link, however long the broker is away. `None` when told to stop.
    pub(super) async fn attach(&self, credit: u32, stop: &CancellationToken) -> Option<Receiver> {
        while !stop.is_cancelled() {
            let entity = &self.config.entity;
            match self
                .client
                .receiver(entity, ReceiveMode::PeekLock, credit)
                .await
            {
                Ok(receiver) => return Some(receiver),
                Err(error) => self.pause_after(&error, stop).await,
            }
        }
        None
    }

    pub(super) async fn pause_after(&self, error: &service_bus::Error, stop: &CancellationToken) {
        self.dispatcher.log.host(
            LineLevel::Error,
            format!(
                "the listener of 'Functions.{}': {error}",
                self.function.name
            ),
        );
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }

    async fn process(self: Arc<Self>, message: ReceivedMessage) -> Finished {
        let invocation = self.invoke(&message, &self.shown_client);
        let limit = self.dispatcher.host.max_auto_lock_renewal;
        let renewal = async {
            keep_lock(
                &self.client,
                &self.config.entity,
                &message,
                limit,
                &self.dispatcher.log,
            )
            .await;
            std::future::pending::<()>().await;
        };
        let succeeded = tokio::select! {
            succeeded = invocation => succeeded,
            () = renewal => return (message, None),
        };
        (message, self.settlement(succeeded))
    }

    /// Invokes the function with a message, and tells whether it succeeded.
    pub(super) async fn invoke(&self, message: &ReceivedMessage, shown: &BusClient) -> bool {
        let sys = self.sys();
        let invoked = self.dispatcher.invoke(&self.function, |retry| {
            let (binding, body) = (&self.function.binding, self.config.body);
            encode_message(binding, body, message, shown, &sys, retry.as_ref())
        });
        invoked.await.is_ok()
    }

    pub(super) fn sys(&self) -> Sys {
        Sys {
            method_name: self.function.name.clone(),
            utc_now: OffsetDateTime::now_utc(),
            rand_guid: Uuid::new_v4(),
        }
    }

    /// What becomes of messages after their invocation.
    pub(super) fn settlement(&self, succeeded: bool) -> Option<Settlement> {
        if succeeded {
            return self.config.auto_complete.then_some(Settlement::Complete);
        }
        // Whatever autoCompleteMessages says.
        Some(Settlement::Abandon {
            properties: Properties::new(),
        })
    }

    pub(super) async fn settle(&self, receiver: &Receiver, (message, settlement): Finished) {
        let Some(settlement) = settlement else { return };
        let what = verb(&settlement);
        let settled = receiver.settle(&message, settlement).await;
        self.note_settled(&message, what, settled);
    }

    /// A lock that is gone is only logged: the handler settled the message itself, or took too long.
    pub(super) fn note_settled(
        &self,
        message: &ReceivedMessage,
        what: &str,
        settled: Result<(), service_bus::Error>,
    ) {
        let Err(error) = settled else { return };
        let level = match error.class() {
            ErrorClass::LockLost | ErrorClass::SessionLost => LineLevel::Warning,
            _ => LineLevel::Error,
        };
        self.dispatcher.log.host(
            level,
            format!(
                "cannot {what} message {} of 'Functions.{}': {error}",
                message.sequence_number, self.function.name
            ),
        );
    }
}

/// What a settlement does, in a word.
pub(super) fn verb(settlement: &Settlement) -> &'static str {
    match settlement {
        Settlement::Complete => "complete",
        _ => "abandon",
    }
}
