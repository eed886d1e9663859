//! Service Bus functions with `cardinality: many`: one batch at a time, without lock renewal.

use futures_util::future::join_all;
use service_bus::{ReceivedMessage, Receiver};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::service_bus::{RECEIVE_WAIT, ServiceBusListener};
use crate::host::encode::{batch_bodies, encode_batch};

impl ServiceBusListener {
    /// Runs until `stop`; a batch that is under way then still ends.
    pub(super) async fn in_batches(self, max: usize, stop: CancellationToken) {
        let credit = u32::try_from(max).unwrap_or(u32::MAX);
        let Some(mut receiver) = self.attach(credit, &stop).await else {
            return;
        };
        while !stop.is_cancelled() {
            let batch = self.gather(&mut receiver, max, &stop).await;
            // A batch that was still waiting for more when the host stopped is left to its locks.
            if batch.is_empty() || stop.is_cancelled() {
                continue;
            }
            let succeeded = self.invoke_batch(&batch).await;
            let settling = batch
                .into_iter()
                .map(|message| self.settle(&receiver, (message, self.settlement(succeeded))));
            join_all(settling).await;
        }
        self.close(receiver).await;
    }

    /// One invocation for all of them.
    async fn invoke_batch(&self, batch: &[ReceivedMessage]) -> bool {
        let bodies = match batch_bodies(self.config.body, batch) {
            Ok(bodies) => bodies,
            Err(reason) => {
                self.dispatcher.refuse(&self.function, &reason);
                return false;
            }
        };
        let sys = self.sys();
        let invocation = self.dispatcher.invoke(&self.function, |retry| {
            let (binding, client) = (&self.function.binding, &self.shown_client);
            encode_batch(binding, &bodies, batch, client, &sys, retry.as_ref())
        });
        invocation.await.is_ok()
    }

    /// What one receive returns, and if that is less than `minMessageBatchSize`, what else comes within
    /// `maxBatchWaitTime`.
    async fn gather(
        &self,
        receiver: &mut Receiver,
        max: usize,
        stop: &CancellationToken,
    ) -> Vec<ReceivedMessage> {
        let host = &self.dispatcher.host;
        let mut batch = Vec::new();
        let mut until = None;
        loop {
            let wait = until.map_or(RECEIVE_WAIT, |until: Instant| {
                until.saturating_duration_since(Instant::now())
            });
            tokio::select! {
                () = stop.cancelled() => return batch,
                received = receiver.receive(max - batch.len(), wait) => match received {
                    Ok(messages) => batch.extend(messages),
                    Err(error) => self.pause_after(&error, stop).await,
                }
            }
            let patient = *until.get_or_insert_with(|| Instant::now() + host.max_batch_wait);
            if batch.is_empty() || batch.len() >= host.min_batch || Instant::now() >= patient {
                return batch;
            }
        }
    }
}
