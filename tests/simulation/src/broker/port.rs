//! The queue as sync-core's port, over a network that may fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use service_bus::{Error, ErrorKind, OutgoingMessage, Properties};
use sync_core::ports::Queue;
use tokio::time::sleep;
use uuid::Uuid;

use crate::life::Life;
use crate::plan::Fault;
use crate::wire::{Lost, Wire, exchange};
use crate::world::{State, Which};

/// The client gives up after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// One queue, as one instance sees it.
pub(crate) struct SimQueue {
    pub(crate) life: Arc<Life>,
    pub(crate) which: Which,
}

impl SimQueue {
    fn error(&self, operation: &'static str, kind: ErrorKind) -> Error {
        let entity = match self.which {
            Which::Outbound => "outbound",
            Which::Inbound => "inbound",
        };
        Error::new(operation, entity, kind)
    }

    fn wire(s: &mut State, lost: Lost) -> Wire {
        Wire {
            up: s.hop(),
            down: s.hop(),
            patience: PATIENCE,
            lost,
        }
    }

    /// The broker cannot be reached: the client tries for a while, then says so.
    async fn unreachable(&self, operation: &'static str) -> Error {
        let wait = self.life.world.lock().dice.millis(500, 8000);
        self.life.point().await;
        sleep(wait).await;
        self.life.point().await;
        self.error(operation, ErrorKind::Connection("refused".into()))
    }

    async fn send_once(&self, message: OutgoingMessage) -> Result<(), ErrorKind> {
        let (wire, busy) = {
            let mut s = self.life.world.lock();
            let busy = s.strikes(Fault::SendError);
            let lost = if s.strikes(Fault::SendLost) {
                Lost::Answer
            } else {
                Lost::Nothing
            };
            (Self::wire(&mut s, lost), busy)
        };
        let (which, world) = (self.which, Arc::clone(&self.life.world));
        let answer = exchange(&self.life, wire, move |s| {
            if busy || s.is_down(which.part()) {
                return Err(ErrorKind::Refused {
                    condition: "com.microsoft:server-busy".into(),
                    description:
                        "The request was terminated because the entity is being throttled.".into(),
                });
            }
            s.accept(&world, which, message);
            Ok(())
        });
        answer.await.unwrap_or(Err(ErrorKind::TimedOut(PATIENCE)))
    }
}

#[async_trait]
impl Queue for SimQueue {
    async fn send(&self, message: OutgoingMessage) -> Result<(), Error> {
        let operation = "send to";
        let down = {
            let mut s = self.life.world.lock();
            let down = s.is_down(self.which.part());
            if !down {
                s.check_sent(self.which, &self.life, &message);
            }
            down
        };
        if down {
            return Err(self.unreachable(operation).await);
        }
        match self.send_once(message.clone()).await {
            Ok(()) => Ok(()),
            Err(kind) => {
                // The client itself repeats a send now and then, under the same id.
                let again = self.life.world.lock().dice.chance(0.5);
                let kind = if again {
                    self.send_once(message).await
                } else {
                    Err(kind)
                };
                kind.map_err(|kind| self.error(operation, kind))
            }
        }
    }

    async fn dead_letter(
        &self,
        lock_token: Uuid,
        reason: &str,
        description: &str,
        properties: Properties,
    ) -> Result<(), Error> {
        let operation = "dead-letter in";
        if self.life.world.lock().is_down(self.which.part()) {
            return Err(self.unreachable(operation).await);
        }
        let wire = {
            let mut s = self.life.world.lock();
            let lost = match (s.strikes(Fault::SettleLost), s.dice.chance(0.5)) {
                (false, _) => Lost::Nothing,
                (true, true) => Lost::Request,
                (true, false) => Lost::Answer,
            };
            Self::wire(&mut s, lost)
        };
        let (which, reason, description) = (self.which, reason.to_owned(), description.to_owned());
        let answer = exchange(&self.life, wire, move |s| {
            !s.is_down(which.part())
                && s.dead_letter(which, lock_token, reason, description, properties)
        });
        match answer.await {
            Some(true) => Ok(()),
            Some(false) => {
                let kind = ErrorKind::Refused {
                    condition: "com.microsoft:message-lock-lost".into(),
                    description: "The lock supplied is invalid.".into(),
                };
                Err(self.error(operation, kind))
            }
            None => Err(self.error(operation, ErrorKind::TimedOut(PATIENCE))),
        }
    }
}
