//! The tries of one call, within its deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::error::{Error, ErrorKind};
use crate::namespace::Namespace;
use crate::retry::{Next, Retries};

/// The tries of one call.
pub(crate) struct Tries<'a> {
    namespace: &'a Namespace,
    operation: &'static str,
    entity: &'a str,
    patience: Duration,
    deadline: Instant,
    retries: Retries,
    /// When the present try began.
    began: Instant,
    /// Says that a call is under way.
    _under_way: TaskTrackerToken,
}

impl<'a> Tries<'a> {
    /// The tries of a call that has `patience` for all of them. Fails once the client closes.
    pub(crate) fn new(
        namespace: &'a Namespace,
        operation: &'static str,
        entity: &'a str,
        patience: Duration,
    ) -> Result<Self, Error> {
        let under_way = namespace
            .enter()
            .map_err(|kind| Error::new(operation, entity, kind))?;
        let began = Instant::now();
        Ok(Self {
            namespace,
            operation,
            entity,
            patience,
            deadline: began + patience,
            retries: Retries::new(namespace.options()),
            began,
            _under_way: under_way,
        })
    }

    /// Makes one try. `None` means that it failed and that it is time for the next; the error, that
    /// further tries make no sense or have no time left.
    pub(crate) async fn attempt<T>(
        &mut self,
        work: impl Future<Output = Result<T, ErrorKind>>,
    ) -> Result<Option<T>, Error> {
        self.began = Instant::now();
        match timeout_at(self.deadline, work).await {
            Ok(Ok(done)) => Ok(Some(done)),
            Ok(Err(failure)) => self.wait_after(failure).await.map(|()| None),
            Err(_) => Err(self.give_up(ErrorKind::TimedOut(self.patience))),
        }
    }

    async fn wait_after(&mut self, failure: ErrorKind) -> Result<(), Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let next = self.retries.after(&failure, left, &mut rand::rng());
        match next {
            Next::GiveUp => return Err(self.give_up(failure)),
            Next::Reauthorize => {
                let (entity, began) = (self.entity, self.began);
                self.namespace.forget_authorization(entity, began);
            }
            Next::After(wait) => {
                tracing::debug!(
                    operation = self.operation,
                    entity = self.entity,
                    error = %failure,
                    wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    "trying to {} {} again: {failure}",
                    self.operation,
                    self.entity
                );
                sleep(wait).await;
            }
        }
        Ok(())
    }

    fn give_up(&self, failure: ErrorKind) -> Error {
        Error::new(self.operation, self.entity, failure)
    }
}
