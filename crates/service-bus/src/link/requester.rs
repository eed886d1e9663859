//! A pair of links to a node that answers requests: `$management` of an entity, or `$cbs`.
//!
//! Requests are pipelined, and answers find their way back by correlation id, so that a caller who
//! gave up never leaves a stale answer to the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::RecvError;
use fe2o3_amqp_types::messaging::{Body, MessageId, Target};
use serde_amqp::Value as Amqp;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::outlet::{Limits, Outbound, Outlet, Place};
use super::session;
use crate::connection::Connection;
use crate::error::ErrorKind;
use crate::sync::{Life, Live, lock};
use crate::wire::management::Response;
use crate::wire::{AnyMessage, failure, outgoing};

/// How many answers the node may send ahead of our reading them. The library tops it up.
const CREDIT: u32 = 1000;

type Pending = Mutex<HashMap<String, oneshot::Sender<AnyMessage>>>;

/// A request/response link pair.
pub(crate) struct Requester {
    outlet: Outlet,
    reply_to: String,
    serial: AtomicU64,
    pending: Arc<Pending>,
}

impl Requester {
    /// Attaches both links, in one session of their own.
    pub(crate) async fn attach(
        connection: &Connection,
        node: &str,
        limits: Limits,
    ) -> Result<Self, ErrorKind> {
        let mut session = connection.begin_session().await?;
        let reply_to = format!("{node}-{}", Uuid::new_v4());
        let receiver = Receiver::builder()
            .name(reply_to.clone())
            .source(node)
            .target(Target::builder().address(reply_to.clone()).build())
            .credit_mode(fe2o3_amqp::link::receiver::CreditMode::Auto(CREDIT))
            .auto_accept(true)
            .attach(&mut session)
            .await
            .map_err(failure::of_receiver_attach)?;
        let sender = Outlet::attach_to(&mut session, node).await?;
        let (life, pending) = (Life::default(), Arc::new(Pending::default()));
        let ended = session::hold(session, life.clone());
        let (answers, alive, ending) = (pending.clone(), life.clone(), ended.clone());
        tokio::spawn(async move {
            let mut receiver = receiver;
            listen(&mut receiver, &answers, &alive).await;
            alive.end(ErrorKind::Closed);
            lock(&answers).clear();
            ending.cancelled().await;
            drop(receiver);
        });
        Ok(Self {
            outlet: Outlet::start(sender, limits, life, ended),
            reply_to,
            serial: AtomicU64::new(0),
            pending,
        })
    }

    pub(crate) fn life(&self) -> &Life {
        self.outlet.life()
    }

    /// Waits until one more request may be under way.
    pub(crate) async fn place(&self) -> Result<Place, ErrorKind> {
        self.outlet.place().await
    }

    /// Sends a request and waits for its answer, however long that takes.
    pub(crate) async fn call(
        &self,
        mut message: AnyMessage,
        place: Place,
    ) -> Result<Response, ErrorKind> {
        let id = self.serial.fetch_add(1, Ordering::Relaxed).to_string();
        let properties = message.properties.get_or_insert_default();
        properties.message_id = Some(MessageId::String(id.clone()));
        properties.reply_to = Some(self.reply_to.clone());

        let (sender, mut answer) = oneshot::channel();
        lock(&self.pending).insert(id.clone(), sender);
        let _entry = Entry {
            pending: &self.pending,
            id,
        };
        // The listener first ends the life and then clears the map. Asked in the other order here,
        // either it cleared our entry or we see the end; there is no third way, and no wait for ever.
        if self.life().is_over() {
            return Err(self.life().reason());
        }
        let request = Outbound::new(message, outgoing::SINGLE);
        let mut request = self.outlet.transfer(&request, place).await?;
        let early = tokio::select! {
            biased;
            early = &mut answer => Some(early),
            // Only a refusal matters here: the answer follows an acceptance.
            delivered = request.answer() => { delivered?; None }
        };
        let answered = match early {
            Some(answered) => answered,
            None => answer.await,
        };
        Response::from_message(answered.map_err(|_| self.life().reason())?)
    }
}

impl Live for Requester {
    fn is_live(&self) -> bool {
        self.outlet.is_live()
    }
}

/// Removes what nobody waits for any more.
struct Entry<'a> {
    pending: &'a Pending,
    id: String,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(self.pending).remove(&self.id);
    }
}

async fn listen(receiver: &mut Receiver, pending: &Pending, life: &Life) {
    loop {
        let received = tokio::select! {
            biased;
            () = life.over() => return,
            received = receiver.recv::<Body<Amqp>>() => received,
        };
        match received {
            Ok(delivery) => {
                let message = delivery.into_message();
                let waiting = correlation_id(&message).and_then(|id| lock(pending).remove(id));
                // Nobody waits for the answer to a call that was given up.
                if let Some(waiting) = waiting {
                    let _ = waiting.send(message);
                }
            }
            Err(RecvError::MessageDecode(error)) => {
                tracing::warn!(error = %error.source, "an answer of Service Bus cannot be read: {}", error.source);
            }
            Err(error) => {
                life.end(failure::of_receive(error));
                return;
            }
        }
    }
}

fn correlation_id(message: &AnyMessage) -> Option<&str> {
    match message.properties.as_ref()?.correlation_id.as_ref()? {
        MessageId::String(id) => Some(id),
        _ => None,
    }
}
