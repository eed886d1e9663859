//! A link to send on, shared by all who send to one address.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp::link::{LinkStateError, SendError};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Sendable, Sender};
use fe2o3_amqp_types::messaging::{Body, Outcome};
use serde_amqp::Value as Amqp;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::session;
use crate::connection::Connection;
use crate::error::ErrorKind;
use crate::options::ClientOptions;
use crate::sync::{Life, Live};
use crate::wire::{AnyMessage, failure};

/// What bounds the use of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages that may wait for the broker's answer.
    window: usize,
    /// How long it has for an answer that nobody waits for any more.
    patience: Duration,
}

impl Limits {
    pub(crate) fn of(options: &ClientOptions) -> Self {
        Self {
            window: options.send_window.clamp(1, Semaphore::MAX_PERMITS),
            patience: options.try_timeout,
        }
    }
}

/// A place in a link's window.
pub(crate) type Place = OwnedSemaphorePermit;

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
    /// Held here too: a job whose caller is gone still takes up room in the queue.
    place: Place,
    started: oneshot::Sender<Result<Transferred, ErrorKind>>,
}

/// A message on its way, and the place it takes up until the broker has answered.
///
/// The library keeps what is not answered. So a caller who drops this frees no place: whoever sends
/// and gives up, over and over, to a broker that never answers, would fill the memory.
pub(crate) struct Transferred {
    waiting: Option<(Delivery, Place)>,
    life: Life,
    patience: Duration,
}

impl Transferred {
    /// Waits for the broker's answer. Cancel-safe.
    pub(crate) async fn answer(&mut self) -> Result<(), ErrorKind> {
        let Some((delivery, _)) = &mut self.waiting else {
            return Ok(());
        };
        let answered = tokio::select! {
            biased;
            answered = delivery => answered,
            () = self.life.over() => return Err(self.life.reason()),
        };
        self.waiting = None;
        answered
            .map_err(failure::of_send)
            .and_then(failure::of_outcome)
    }
}

impl Drop for Transferred {
    fn drop(&mut self) {
        let (Some((delivery, place)), Ok(runtime)) = (self.waiting.take(), Handle::try_current())
        else {
            return;
        };
        if self.life.is_over() {
            return;
        }
        let (life, patience) = (self.life.clone(), self.patience);
        runtime.spawn(async move {
            tokio::select! {
                answered = timeout(patience, delivery) => if answered.is_err() {
                    life.end(ErrorKind::TimedOut(patience));
                },
                () = life.over() => {}
            }
            drop(place);
        });
    }
}

/// A sending link. Transfers are pipelined: many may wait for the broker's answer at once.
///
/// They leave in the order in which their senders got a [`Place`].
pub(crate) struct Outlet {
    /// Bounded by the window: each job holds a place.
    jobs: mpsc::UnboundedSender<Job>,
    window: Arc<Semaphore>,
    life: Life,
}

impl Outlet {
    /// Attaches a link in a session of its own.
    pub(crate) async fn attach(
        connection: &Connection,
        address: &str,
        limits: Limits,
    ) -> Result<Self, ErrorKind> {
        let mut session = connection.begin_session().await?;
        let sender = Self::attach_to(&mut session, address).await?;
        let life = Life::default();
        let ended = session::hold(session, life.clone());
        Ok(Self::start(sender, limits, life, ended))
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
    pub(crate) fn start(
        sender: Sender,
        limits: Limits,
        life: Life,
        ended: CancellationToken,
    ) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let serving = life.clone();
        tokio::spawn(async move {
            let mut sender = sender;
            serve(&mut sender, queue, &serving, limits.patience).await;
            serving.end(ErrorKind::Closed);
            ended.cancelled().await;
            drop(sender);
        });
        Self {
            jobs,
            window: Arc::new(Semaphore::new(limits.window)),
            life,
        }
    }

    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// Waits for a place in the window. First come, first served.
    pub(crate) async fn place(&self) -> Result<Place, ErrorKind> {
        let getting = async {
            tokio::select! {
                biased;
                () = self.life.over() => Err(self.life.reason()),
                place = self.window.clone().acquire_owned() => {
                    place.map_err(|_| self.life.reason())
                }
            }
        };
        // A task that has used up the runtime's patience would have to come again before it may even
        // get in line, and those who must come again do so in reverse order.
        tokio::task::unconstrained(getting).await
    }

    /// Sends a message and waits for the broker's answer.
    pub(crate) async fn send(&self, message: &Outbound, place: Place) -> Result<(), ErrorKind> {
        self.transfer(message, place).await?.answer().await
    }

    /// Sends a message and returns while the broker's answer is still to come.
    pub(crate) async fn transfer(
        &self,
        message: &Outbound,
        place: Place,
    ) -> Result<Transferred, ErrorKind> {
        let (started, start) = oneshot::channel();
        let job = Job {
            message: message.clone(),
            place,
            started,
        };
        let lost = |_| self.life.reason();
        self.jobs.send(job).map_err(|_| self.life.reason())?;
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

async fn serve(
    sender: &mut Sender,
    mut queue: mpsc::UnboundedReceiver<Job>,
    life: &Life,
    patience: Duration,
) {
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
                let _ = job.started.send(Ok(Transferred {
                    waiting: Some((delivery, job.place)),
                    life: life.clone(),
                    patience,
                }));
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
