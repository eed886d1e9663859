//! A link to receive on, and to settle on what it received.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::link::{IllegalLinkStateError, RecvError};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Body, Source};
use futures_util::FutureExt;
use serde_amqp::Value as Amqp;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::session;
use super::witness::Follow;
use crate::connection::Connection;
use crate::error::ErrorKind;
use crate::message::ReceivedMessage;
use crate::settlement::{ReceiveMode, Settlement};
use crate::sync::lock;
use crate::wire::session::{Ask, Granted};
use crate::wire::{self, failure, incoming, settlement};

/// Unsettled deliveries are looked through for expired locks once there are this many, and again
/// whenever their number has doubled.
const CROWDED: usize = 1024;

/// A receiving link in a session of its own.
pub(crate) struct Inlet {
    receiver: Receiver,
    session: SessionHandle<()>,
    connection: Arc<Connection>,
    follow: Follow,
    mode: ReceiveMode,
    /// Deliveries taken from the link so far.
    received: u64,
    /// What is left of the credit granted.
    outstanding: u32,
    /// Set once the credit is being taken back.
    spent: bool,
    unsettled: Mutex<Unsettled>,
}

#[derive(Default)]
struct Unsettled {
    deliveries: HashMap<Uuid, (DeliveryInfo, Option<OffsetDateTime>)>,
    crowded: usize,
}

impl Inlet {
    /// Attaches the link, without credit.
    pub(crate) async fn attach(
        connection: Arc<Connection>,
        address: &str,
        mode: ReceiveMode,
    ) -> Result<Self, ErrorKind> {
        let source = Source::builder().address(address);
        Self::attach_to(connection, address, source.build(), Fields::new(), mode).await
    }

    /// Attaches the link to a session, in peek-lock mode and without credit.
    pub(crate) async fn attach_session(
        connection: Arc<Connection>,
        address: &str,
        ask: &Ask,
    ) -> Result<(Self, Granted), ErrorKind> {
        let source = wire::session::source(address, ask).build();
        let properties = wire::session::properties(ask);
        let mode = ReceiveMode::PeekLock;
        let inlet = Self::attach_to(connection, address, source, properties, mode).await?;
        let source = inlet.receiver.source().as_ref();
        let granted = inlet
            .receiver
            .properties(|properties| wire::session::granted(source, properties.as_ref()));
        match granted {
            Some(granted) => Ok((inlet, granted)),
            None => {
                inlet.close().await;
                let reason = "a session link that does not say which session it has".to_owned();
                Err(ErrorKind::Protocol(reason))
            }
        }
    }

    async fn attach_to(
        connection: Arc<Connection>,
        address: &str,
        source: Source,
        properties: Fields,
        mode: ReceiveMode,
    ) -> Result<Self, ErrorKind> {
        let mut session = connection.begin_session().await?;
        let name = format!("{address}-{}", Uuid::new_v4());
        let follow = connection.witness().follow(name.clone());
        let (sender_mode, receiver_mode) = match mode {
            ReceiveMode::PeekLock => (SenderSettleMode::Unsettled, ReceiverSettleMode::Second),
            ReceiveMode::ReceiveAndDelete => (SenderSettleMode::Settled, ReceiverSettleMode::First),
        };
        let receiver = Receiver::builder()
            .name(name)
            .source(source)
            .properties(properties)
            .sender_settle_mode(sender_mode)
            .receiver_settle_mode(receiver_mode)
            .credit_mode(CreditMode::Manual)
            .attach(&mut session)
            .await
            .map_err(failure::of_receiver_attach)?;
        Ok(Self {
            receiver,
            session,
            connection,
            follow,
            mode,
            received: 0,
            outstanding: 0,
            spent: false,
            unsettled: Mutex::default(),
        })
    }

    /// The link's name.
    pub(crate) fn name(&self) -> &str {
        self.receiver.name()
    }

    /// Why its connection is lost, if it is.
    pub(crate) fn lost(&self) -> Option<ErrorKind> {
        let life = self.connection.life();
        life.is_over().then(|| life.reason())
    }

    /// Whether the broker may still send.
    pub(crate) fn has_credit(&self) -> bool {
        self.outstanding > 0
    }

    /// Whether a [`drain`](Self::drain) was begun, and perhaps not waited for.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Lets the broker send until `credit` messages are on their way. Never takes credit back.
    async fn grant(&mut self, credit: u32) -> Result<(), ErrorKind> {
        if self.outstanding < credit {
            self.receiver.set_credit(credit).await.map_err(of_state)?;
            self.outstanding = credit;
        }
        Ok(())
    }

    /// Waits for messages until then, and puts the first of them and what has come with it, up to
    /// `max` in all, into `ready`. The broker may have `credit` under way at most. Cancel-safe.
    pub(crate) async fn fill(
        &mut self,
        ready: &mut VecDeque<ReceivedMessage>,
        max: usize,
        credit: u32,
        until: Instant,
    ) -> Result<(), ErrorKind> {
        let wanted = u32::try_from(max).unwrap_or(u32::MAX).min(credit);
        self.grant(wanted).await?;
        if let Ok(message) = timeout_at(until, self.next()).await {
            ready.push_back(message?);
        }
        while ready.len() < max
            && let Some(message) = self.next_now()
        {
            ready.push_back(message?);
        }
        Ok(())
    }

    /// The next message. Cancel-safe.
    async fn next(&mut self) -> Result<ReceivedMessage, ErrorKind> {
        loop {
            match self.receiver.recv::<Body<Amqp>>().await {
                Ok(delivery) => {
                    self.count();
                    let (info, message) = delivery.into_parts();
                    let lock_token = match self.mode {
                        ReceiveMode::PeekLock => incoming::lock_token(info.delivery_tag()),
                        ReceiveMode::ReceiveAndDelete => None,
                    };
                    let message = incoming::received(message, lock_token);
                    if let Some(token) = lock_token {
                        self.remember(token, info, message.locked_until);
                    }
                    return Ok(message);
                }
                Err(RecvError::MessageDecode(error)) => {
                    // Its lock will expire, and the broker dead-letters it when that was too often.
                    self.count();
                    tracing::warn!(error = %error.source, "a message from Service Bus cannot be read, and is left to its lock: {}", error.source);
                }
                Err(error) => return Err(failure::of_receive(error)),
            }
        }
    }

    /// The next message, if it has arrived.
    fn next_now(&mut self) -> Option<Result<ReceivedMessage, ErrorKind>> {
        self.next().now_or_never()
    }

    /// Takes back the credit and hands over each message that came before the broker knew. When the
    /// future is dropped, another call goes on with it.
    ///
    /// The link is good for nothing but [`close`](Self::close) afterwards: the library takes over the
    /// broker's final count of deliveries at once, counts those it has yet to hand out a second time,
    /// and would announce more credit than it grants.
    pub(crate) async fn drain(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(ReceivedMessage),
    ) -> Result<(), ErrorKind> {
        if !self.has_credit() {
            return Ok(());
        }
        self.spent = true;
        let mut drained = self.follow.drained();
        let draining = async {
            self.receiver.drain().await.map_err(of_state)?;
            let delivered = loop {
                tokio::select! {
                    biased;
                    message = self.next() => take(message?),
                    delivered = &mut drained => break delivered.unwrap_or(0),
                }
            };
            // The witness hears of the last deliveries before the library hands them out.
            while self.received < delivered {
                take(self.next().await?);
            }
            self.outstanding = 0;
            Ok(())
        };
        timeout(patience, draining)
            .await
            .unwrap_or(Err(ErrorKind::TimedOut(patience)))
    }

    /// Settles a delivery of this link and waits for the broker's word. `None` if this link does
    /// not know the lock token, or cannot tell what became of it: the management node will.
    pub(crate) async fn settle(
        &self,
        lock_token: Uuid,
        settlement: Settlement,
        patience: Duration,
    ) -> Option<Result<(), ErrorKind>> {
        let settling = self.settle_unbounded(lock_token, settlement);
        timeout(patience, settling).await.unwrap_or(None)
    }

    async fn settle_unbounded(
        &self,
        lock_token: Uuid,
        settlement: Settlement,
    ) -> Option<Result<(), ErrorKind>> {
        let (info, _) = lock(&self.unsettled).deliveries.remove(&lock_token)?;
        let answer = Answer {
            follow: &self.follow,
            lock_token,
        };
        let settled = self.follow.settlement(lock_token);
        let state = settlement::delivery_state(settlement);
        self.receiver.dispose(info, state).await.ok()?;
        let outcome = tokio::select! {
            biased;
            settled = settled => settled.ok()?,
            () = self.connection.life().over() => return None,
        };
        drop(answer);
        match &outcome {
            // The link has forgotten the delivery, as after a reconnect; .NET asks the node then.
            Err(ErrorKind::Refused { condition, .. }) if condition == "amqp:not-found" => None,
            _ => Some(outcome),
        }
    }

    /// Gives a delivery of this link back without waiting for the broker's word.
    pub(crate) async fn release(&self, lock_token: Uuid) {
        let known = lock(&self.unsettled).deliveries.remove(&lock_token);
        if let Some((info, _)) = known {
            // If the link is gone, the lock expires instead.
            let _ = self.receiver.release(info).await;
        }
    }

    /// Ends the link and its session. A link that still has credit must be
    /// [drained](Self::drain) first.
    pub(crate) async fn close(mut self) {
        session::end(&mut self.session).await;
    }

    fn count(&mut self) {
        self.received += 1;
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    fn remember(&self, token: Uuid, info: DeliveryInfo, locked_until: Option<OffsetDateTime>) {
        let mut unsettled = lock(&self.unsettled);
        unsettled.deliveries.insert(token, (info, locked_until));
        // Messages that are never settled would pile up here for as long as the link lives.
        if unsettled.deliveries.len() >= unsettled.crowded.max(CROWDED) {
            let now = OffsetDateTime::now_utc();
            unsettled
                .deliveries
                .retain(|_, (_, until)| until.is_none_or(|until| until > now));
            unsettled.crowded = unsettled.deliveries.len() * 2;
        }
    }
}

/// Stops waiting for an answer when dropped.
struct Answer<'a> {
    follow: &'a Follow,
    lock_token: Uuid,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.follow.forget(self.lock_token);
    }
}

fn of_state(error: IllegalLinkStateError) -> ErrorKind {
    failure::lost(error)
}
