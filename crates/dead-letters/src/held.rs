//! Letters that were received and stay: locked for us until the end of the work, then given back.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use service_bus::{Properties, ReceivedMessage, Receiver, Settlement};
use tokio::time::timeout;

/// Given back at once.
const AT_ONCE: usize = 50;
/// What was not given back by then comes back when its lock ends: nobody waits for a broker that is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// By number.
#[derive(Debug, Default)]
pub(crate) struct Held(HashMap<i64, ReceivedMessage>);

impl Held {
    /// Whether it is held for the first time. One that comes again, since its lock ended, is held under its
    /// new lock.
    pub(crate) fn hold(&mut self, message: ReceivedMessage) -> bool {
        // There may be very many; nothing but the lock is needed of them.
        let slim = ReceivedMessage {
            body: bytes::Bytes::new(),
            properties: Properties::new(),
            ..message
        };
        self.0.insert(slim.sequence_number, slim).is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) async fn give_back(&mut self, receiver: &Receiver) {
        let letters: Vec<ReceivedMessage> = self.0.drain().map(|(_, letter)| letter).collect();
        let count = letters.len();
        let given = stream::iter(letters).for_each_concurrent(AT_ONCE, |letter| async move {
            let back = Settlement::Abandon {
                properties: Properties::new(),
            };
            if let Err(error) = receiver.settle(&letter, back).await {
                let number = letter.sequence_number;
                tracing::debug!(%error, number, "dead letter {number} was not given back: {error}");
            }
        });
        if timeout(PATIENCE, given).await.is_err() {
            tracing::debug!(
                count,
                "the broker took too long to take {count} dead letters back"
            );
        }
    }
}
