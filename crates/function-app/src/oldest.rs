//! How old the oldest change on a queue is, by looking at it: Azure counts messages, but does not say that.
//!
//! The age is that of the change, not of the message, which may be its tenth copy; waits for a system that is down
//! are left out, as everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use service_bus::{Client, ReceivedMessage, Value, dead_letter_queue};
use sync_core::message::FIRST_ENQUEUED_AT;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::warn;

/// Messages looked at each time, in the order of their arrival.
const MOST: u32 = 250;

/// Looks at `entity` for ever, and lets whatever exports metrics know.
pub(crate) async fn watch(bus: Client, entity: String, every: Duration) {
    let seen = |name: &'static str| {
        let age = Arc::new(AtomicU64::new(0));
        let (observed, entity) = (Arc::clone(&age), entity.clone());
        global::meter("dataverse-sync")
            .u64_observable_gauge(name)
            .with_unit("s")
            .with_callback(move |gauge| {
                let queue = KeyValue::new("queue", entity.clone());
                gauge.observe(observed.load(Ordering::Relaxed), &[queue]);
            })
            .build();
        age
    };
    let queues = [
        (entity.clone(), seen("dvsync.queue.oldest_seconds")),
        (
            dead_letter_queue(&entity),
            seen("dvsync.queue.dead_letter_oldest_seconds"),
        ),
    ];
    let mut failing = [false; 2];
    loop {
        for ((queue, age), failing) in queues.iter().zip(&mut failing) {
            match bus.peek(queue, 0, MOST).await {
                Ok(messages) => {
                    *failing = false;
                    let oldest = oldest(&messages, OffsetDateTime::now_utc());
                    age.store(oldest, Ordering::Relaxed);
                }
                Err(error) => {
                    // Once a spell; the last age stands meanwhile.
                    if !*failing {
                        warn!(
                            queue,
                            "the age of the messages on {queue} is not known: {error}"
                        );
                    }
                    *failing = true;
                }
            }
        }
        tokio::time::sleep(every).await;
    }
}

fn oldest(messages: &[ReceivedMessage], now: OffsetDateTime) -> u64 {
    let age = |message: &ReceivedMessage| {
        let first = message.properties.get(FIRST_ENQUEUED_AT);
        let first = first.and_then(Value::as_str);
        let first = first.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
        let age = now - first.unwrap_or(message.enqueued_time);
        u64::try_from(age.whole_seconds()).unwrap_or(0)
    };
    messages.iter().map(age).max().unwrap_or(0)
}
