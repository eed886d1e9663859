//! Sends, schedules, receives and settles while the broker misbehaves; then counts.
//!
//! The broker runs in this process, for its faults to be at hand; everything still goes over TCP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use local_stack::bus::{Broker, BrokerConfig, QueueConfig, Security};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use service_bus::{
    Client, ClientOptions, Error, OutgoingMessage, Properties, ReceiveMode, ReceivedMessage,
    Receiver, Settlement, dead_letter_queue,
};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ledger::{Ledger, Report};
use super::meddler::Meddler;
use super::mischief::Mischief;

/// A queue that takes every message, and one that drops repetitions.
const PLAIN: &str = "plain";
const DETECTING: &str = "detecting";
const SENDERS: u64 = 8;
const RECEIVERS: u64 = 6;
const LOCK: Duration = Duration::from_secs(5);
/// How long a call may outlive its deadline: what a busy machine takes to notice.
const GRACE: Duration = Duration::from_secs(10);
/// What is left when the faults are over is received for so long at most.
const DRAIN: Duration = Duration::from_secs(120);

struct World {
    client: Client,
    /// Settles what others received, over its own connection.
    settler: Client,
    options: ClientOptions,
    ledger: Ledger,
    stop: AtomicBool,
}

/// Runs for `length`, drains both queues, and reports.
pub(super) async fn run(length: Duration, seed: u64) -> anyhow::Result<Report> {
    let queue = |name: &str, window| QueueConfig {
        lock_duration: LOCK,
        // Nothing is to be dead-lettered but on purpose.
        max_delivery_count: 10_000,
        duplicate_detection_window: window,
        ..QueueConfig::named(name)
    };
    let day = Duration::from_secs(86_400);
    let broker = Broker::start(BrokerConfig {
        // Tokens count: they can expire.
        security: Some(Security::default()),
        ..BrokerConfig::new([queue(PLAIN, None), queue(DETECTING, Some(day))])
    })
    .await?;
    let options = ClientOptions {
        operation_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(3),
        try_timeout: Duration::from_secs(3),
        retry_base: Duration::from_millis(20),
        // Tokens are renewed all the time.
        sas_lifetime: Duration::from_secs(10),
        renew_ahead: Duration::from_secs(5),
        ..ClientOptions::default()
    };
    let meddler = Meddler::start(broker.addr()).await?;
    let address = format!(
        "Endpoint=sb://127.0.0.1:{};SharedAccessKeyName=RootManageSharedAccessKey;\
         SharedAccessKey=local;UseDevelopmentEmulator=true",
        meddler.port()
    );
    let client = || Client::from_connection_string(&address, options.clone());
    let world = Arc::new(World {
        client: client()?,
        settler: client()?,
        options: options.clone(),
        ledger: Ledger::default(),
        stop: AtomicBool::new(false),
    });

    let mut workers = JoinSet::new();
    for number in 0..SENDERS {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1000) + number);
        workers.spawn(world.clone().send(number, rng));
    }
    for number in 0..RECEIVERS {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1000) + 500 + number);
        workers.spawn(world.clone().receive(number, rng));
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let mischief = Mischief {
        broker: &broker,
        meddler: &meddler,
        queues: &[PLAIN, DETECTING],
    };
    let mut faults = BTreeMap::new();
    let until = Instant::now() + length;
    while Instant::now() < until {
        sleep(Duration::from_millis(rng.random_range(20..2000))).await;
        let fault = mischief
            .do_something(&mut rng)
            .await
            .map_err(anyhow::Error::msg)?;
        *faults.entry(fault).or_default() += 1;
    }
    mischief.end();
    world.stop.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker?;
    }
    let left = world.drain(&broker).await?;
    let mut report = world.ledger.close(DETECTING, left);
    report.faults = faults;
    world.client.close().await;
    world.settler.close().await;
    broker.shutdown().await;
    Ok(report)
}

impl World {
    fn runs(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Makes a call and holds it to its deadline.
    async fn call<T>(
        &self,
        what: &str,
        deadline: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        let started = Instant::now();
        let result = timeout(deadline + GRACE, call).await;
        let (failed, hung) = (!matches!(result, Ok(Ok(_))), result.is_err());
        self.ledger.called(what, started.elapsed(), failed, hung);
        if let Ok(Err(error)) = &result {
            tracing::debug!(%error, "a call failed");
        }
        result.ok()?.ok()
    }

    async fn send(self: Arc<Self>, worker: u64, mut rng: StdRng) {
        let mut number = 0;
        while self.runs() {
            let queue = if rng.random() { PLAIN } else { DETECTING };
            let count = if rng.random_bool(0.3) { 5 } else { 1 };
            let ids: Vec<String> = (0..count)
                .map(|_| {
                    number += 1;
                    format!("{worker}-{number}")
                })
                .collect();
            let later = rng.random_bool(0.2).then(|| {
                OffsetDateTime::now_utc() + Duration::from_millis(rng.random_range(0..2000))
            });
            let messages: Vec<_> = ids.iter().map(|id| message(id, later)).collect();
            let deadline = self.options.operation_timeout;
            // Before the call: a message may be received before its sender knows that it was sent.
            self.ledger.sent(queue, &ids, false);
            let client = &self.client;
            let sent = match (later, messages.as_slice()) {
                (Some(_), _) if rng.random() => {
                    let scheduling = client.schedule(queue, messages);
                    let numbers = self.call("schedule", deadline, scheduling).await;
                    numbers.map(drop)
                }
                (_, [one]) => {
                    let sending = client.send(queue, one.clone());
                    if rng.random_bool(0.03) {
                        // Callers give up, too. What was sent may arrive, or not.
                        let patience = Duration::from_micros(rng.random_range(0..3000));
                        let _ = timeout(patience, sending).await;
                        continue;
                    }
                    self.call("send", deadline, sending).await
                }
                _ => {
                    let sending = client.send_batch(queue, messages);
                    self.call("send a batch", deadline, sending).await
                }
            };
            if sent.is_some() {
                self.ledger.sent(queue, &ids, true);
            }
            sleep(Duration::from_micros(rng.random_range(0..4000))).await;
        }
    }

    async fn receive(self: Arc<Self>, worker: u64, mut rng: StdRng) {
        let queue = if worker.is_multiple_of(2) {
            PLAIN
        } else {
            DETECTING
        };
        while self.runs() {
            let deadline = self.options.operation_timeout;
            let opening = self.client.receiver(queue, ReceiveMode::PeekLock, 50);
            let Some(mut receiver) = self.call("attach", deadline, opening).await else {
                continue;
            };
            for _ in 0..rng.random_range(1..200) {
                if !self.runs() {
                    break;
                }
                let wait = Duration::from_millis(rng.random_range(1..1000));
                let receiving = receiver.receive(50, wait);
                if rng.random_bool(0.05) {
                    let patience = Duration::from_micros(rng.random_range(0..5000));
                    if let Ok(Ok(messages)) = timeout(patience, receiving).await {
                        self.work_off(queue, &receiver, messages, &mut rng).await;
                    }
                    continue;
                }
                let messages = self.call("receive", wait + deadline, receiving).await;
                let messages = messages.unwrap_or_default();
                self.work_off(queue, &receiver, messages, &mut rng).await;
            }
            if rng.random_bool(0.7) {
                self.call("close a receiver", 2 * deadline, receiver.close())
                    .await;
            }
        }
    }

    async fn work_off(
        &self,
        queue: &str,
        receiver: &Receiver,
        messages: Vec<ReceivedMessage>,
        rng: &mut StdRng,
    ) {
        for message in messages {
            let locked_at = message.locked_until.map(|until| until - LOCK);
            self.ledger.received(queue, &message, locked_at);
            let (settlement, ends) = match rng.random_range(0..100) {
                // Nobody settles it: its lock runs out.
                0..1 => continue,
                1..6 => (abandon(), false),
                6..11 => (dead_letter(), true),
                _ => (Settlement::Complete, true),
            };
            let deadline = self.options.operation_timeout;
            let settled = match message.lock_token {
                Some(token) if rng.random_bool(0.4) => {
                    let settling = self.settler.settle(queue, token, settlement);
                    self.call("settle over $management", deadline, settling)
                        .await
                }
                _ => {
                    let settling = receiver.settle(&message, settlement);
                    self.call("settle", deadline, settling).await
                }
            };
            if settled.is_some() && ends {
                self.ledger.settled(queue, &message);
            }
        }
    }

    /// Takes what is left out of both queues and their dead-letter queues. What is left even then.
    async fn drain(&self, broker: &Broker) -> anyhow::Result<usize> {
        let until = Instant::now() + DRAIN;
        for queue in [PLAIN, DETECTING] {
            let dead = dead_letter_queue(queue);
            for entity in [queue, &dead] {
                let mode = ReceiveMode::ReceiveAndDelete;
                let mut receiver = self.client.receiver(entity, mode, 500).await?;
                loop {
                    let messages = receiver.receive(500, Duration::from_millis(500)).await?;
                    for message in &messages {
                        self.ledger.received(queue, message, None);
                    }
                    let Some(counts) = broker.counts(queue) else {
                        bail!("the broker has no queue {queue}");
                    };
                    let left = match entity == queue {
                        true => counts.active + counts.locked + counts.scheduled + counts.deferred,
                        false => counts.dead_letter,
                    };
                    if left == 0 || Instant::now() > until {
                        break;
                    }
                }
                receiver.close().await?;
            }
        }
        let counts = [PLAIN, DETECTING].map(|queue| broker.counts(queue));
        let left = counts.into_iter().flatten().map(|counts| {
            counts.active + counts.locked + counts.scheduled + counts.deferred + counts.dead_letter
        });
        Ok(left.sum())
    }
}

fn message(id: &str, later: Option<OffsetDateTime>) -> OutgoingMessage {
    OutgoingMessage {
        message_id: Some(id.to_owned()),
        scheduled_enqueue_time: later,
        ..OutgoingMessage::new("chaos")
    }
}

fn abandon() -> Settlement {
    Settlement::Abandon {
        properties: Properties::new(),
    }
}

fn dead_letter() -> Settlement {
    Settlement::DeadLetter {
        reason: "Chaos".into(),
        description: "on purpose".into(),
        properties: Properties::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_message_is_accounted_for_while_connections_break() {
        for seed in [1, 2] {
            let report = run(Duration::from_secs(3), seed).await.unwrap();
            assert!(report.is_good(), "seed {seed}: {report:?}");
        }
    }
}
