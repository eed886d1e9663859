//! A link to send on, shared by all who send to one address.

use std::sync::Arc;

use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp::link::{LinkStateError, SendError};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Sendable, Sender};
use fe2o3_amqp_types::messaging::{Body, Outcome};
use serde_amqp::Value as Amqp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::session;
use crate::connection::Connection;
use crate::error::ErrorKind;
use crate::sync::{Life, Live};
use crate::wire::{AnyMessage, failure};

/// How many messages wait in line before callers wait to get in line.
const QUEUE: usize = 256;

/// A message ready to be transferred, as often as it takes.
#[derive(Clone)]
pub(crate) struct Outbound(Arc<Sendable<Body<Amqp>>>);

impl Outbound {
    pub(crate) fn new(message: AnyMessage, format: u32) -> Self {
        Self(Arc::new(
            Sendable::builder()
                .message(message)
                .message_format(format)
                .build(),
        ))
    }
}

/// Resolves to what the broker made of a message.
type Delivery = DeliveryFut<Result<Outcome, SendError>>;

struct Job {
    message: Outbound,
    started: oneshot::Sender<Result<Delivery, ErrorKind>>,
}

/// A sending link. Transfers are pipelined: many may wait for the broker's answer at once.
pub(crate) struct Outlet {
    jobs: mpsc::Sender<Job>,
    life: Life,
}

impl Outlet {
    /// Attaches a link in a session of its own.
    pub(crate) async fn attach(connection: &Connection, address: &str) -> Result<Self, ErrorKind> {
        let mut session = connection.begin_session().await?;
        let sender = Self::attach_to(&mut session, address).await?;
        let life = Life::default();
        let ended = session::hold(session, life.clone());
        Ok(Self::start(sender, life, ended))
    }

    /// Attaches a link to a session.
    pub(crate) async fn attach_to(
        session: &mut SessionHandle<()>,
        address: &str,
    ) -> Result<Sender, ErrorKind> {
        Sender::attach(session, format!("{address}-{}", Uuid::new_v4()), address)
            .await
            .map_err(failure::of_sender_attach)
    }

    /// Serves an attached link until `life` ends, and ends it when the link is lost. The link is kept
    /// until its session has ended.
    pub(crate) fn start(sender: Sender, life: Life, ended: CancellationToken) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let serving = life.clone();
        tokio::spawn(async move {
            let mut sender = sender;
            serve(&mut sender, queue, &serving).await;
            serving.end(ErrorKind::Closed);
            ended.cancelled().await;
            drop(sender);
        });
        Self { jobs, life }
    }

    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// Sends a message and waits for the broker's answer.
    pub(crate) async fn send(&self, message: &Outbound) -> Result<(), ErrorKind> {
        let delivery = self.transfer(message).await?;
        tokio::select! {
            biased;
            answered = answer(delivery) => answered,
            () = self.life.over() => Err(self.life.reason()),
        }
    }

    /// Sends a message and returns while the broker's answer is still to come.
    pub(crate) async fn transfer(&self, message: &Outbound) -> Result<Delivery, ErrorKind> {
        let (started, start) = oneshot::channel();
        let job = Job {
            message: message.clone(),
            started,
        };
        let lost = |_| self.life.reason();
        self.jobs.send(job).await.map_err(|_| self.life.reason())?;
        start.await.map_err(lost)?
    }
}

impl Live for Outlet {
    fn is_live(&self) -> bool {
        !self.life.is_over()
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.life.end(ErrorKind::Closed);
    }
}

/// Waits for the broker's answer to a transfer.
pub(crate) async fn answer(delivery: Delivery) -> Result<(), ErrorKind> {
    delivery
        .await
        .map_err(failure::of_send)
        .and_then(failure::of_outcome)
}

async fn serve(sender: &mut Sender, mut queue: mpsc::Receiver<Job>, life: &Life) {
    loop {
        let mut job = tokio::select! {
            biased;
            () = life.over() => return,
            error = sender.on_detach() => {
                life.end(failure::of_detach(error));
                return;
            }
            job = queue.recv() => match job {
                Some(job) => job,
                None => return,
            },
        };
        if job.started.is_closed() {
            // Its caller has given up: sent now, it would only be a late duplicate.
            continue;
        }
        let transferred = tokio::select! {
            biased;
            () = life.over() => return,
            // Waiting for credit ends with the caller's patience. Cancel-safe by the library's word.
            () = job.started.closed() => continue,
            transferred = sender.send_batchable_ref(&job.message.0) => transferred,
        };
        let lost = matches!(&transferred, Err(error) if !error.recovery().link_is_usable());
        let reason = match transferred {
            Ok(delivery) => {
                let _ = job.started.send(Ok(delivery));
                continue;
            }
            Err(error) => {
                let reason = failure::of_send(explain(error));
                let _ = job.started.send(Err(reason.clone()));
                reason
            }
        };
        if lost {
            life.end(reason);
            return;
        }
    }
}

/// The library calls the state of a link that was closed under it illegal; to us it is simply lost.
fn explain(error: SendError) -> SendError {
    match error {
        SendError::LinkStateError(LinkStateError::IllegalState) => {
            SendError::LinkStateError(LinkStateError::RemoteClosed)
        }
        error => error,
    }
}
