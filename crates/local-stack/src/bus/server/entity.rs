//! A queue, a topic or a subscription shared between connections: the core behind a lock, its timer,
//! and the receivers to wake.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::router::{Router, Routes};
use crate::bus::durable::{self, Item, Journal};
use crate::bus::filter::{Rule, RuleSet};
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::queue::{Queue, SubQueue};

/// The clock on the wall may jump ahead of the one that sleeps are counted with, as when a machine
/// was suspended; so it is looked at now and then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Tells the time. Injected, so that a test can move it.
pub(crate) type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The system's time in whole milliseconds, which is what AMQP timestamps can carry: a lock ends
/// when its receiver was told it would.
pub(crate) fn system_clock() -> Clock {
    Arc::new(|| {
        let now = OffsetDateTime::now_utc();
        now.replace_millisecond(now.millisecond()).unwrap_or(now)
    })
}

/// What an entity is to its clients.
pub(crate) enum Kind {
    /// Sent to and received from.
    Queue,
    /// Sent to only: its messages go on to its subscriptions.
    Topic,
    /// Received from only: its messages come through its rules.
    Subscription(Rules),
}

/// The rules of a subscription.
pub(crate) struct Rules {
    set: Mutex<RuleSet>,
    /// Those of the configuration.
    configured: Vec<Rule>,
    /// Whether a message on which one cannot be evaluated is dead-lettered.
    pub(super) dead_letter_errors: bool,
}

impl Rules {
    /// The rules of a subscription: those it has now, and those of the configuration.
    pub(crate) fn new(now: Vec<Rule>, configured: Vec<Rule>, dead_letter_errors: bool) -> Self {
        Rules {
            set: Mutex::new(RuleSet::new(now)),
            configured,
            dead_letter_errors,
        }
    }

    pub(crate) fn with<R>(&self, operate: impl FnOnce(&mut RuleSet) -> R) -> R {
        operate(&mut lock(&self.set))
    }
}

/// One queue with its dead-letter queue; a topic and a subscription have one each.
pub(crate) struct Entity {
    pub(crate) name: String,
    kind: Kind,
    routes: Routes,
    /// What carries departures on; it owns the entity in turn.
    router: Weak<Router>,
    /// Where changes go that are to be kept, and under which name.
    journal: Option<(Arc<Journal>, Arc<str>)>,
    clock: Clock,
    core: Mutex<Queue>,
    /// The connections to tell when a message is ready for one of their receivers.
    consumers: Mutex<HashMap<ConsumerId, UnboundedSender<ConsumerId>>>,
    /// Signalled when the timer must ring earlier than it was set to.
    earlier: Notify,
}

impl Entity {
    pub(crate) fn new(name: String, queue: Queue, clock: Clock) -> Self {
        Entity {
            name,
            kind: Kind::Queue,
            routes: Routes::default(),
            router: Weak::new(),
            journal: None,
            clock,
            core: Mutex::new(queue),
            consumers: Mutex::default(),
            earlier: Notify::new(),
        }
    }

    /// The entity as something else than a queue that keeps its messages.
    pub(crate) fn routed(mut self, kind: Kind, routes: Routes, router: &Arc<Router>) -> Self {
        self.kind = kind;
        self.routes = routes;
        self.router = Arc::downgrade(router);
        self
    }

    /// The entity as one whose changes are kept. Its queue tells of them.
    pub(crate) fn kept(mut self, journal: &Arc<Journal>, kind: &'static str) -> Self {
        let name: Arc<str> = self.name.to_lowercase().into();
        let unit = journal.unit();
        journal.append(&name, std::iter::once(Item::Kind(kind)));
        drop(unit);
        self.journal = Some((Arc::clone(journal), name));
        self
    }

    pub(crate) fn is_topic(&self) -> bool {
        matches!(self.kind, Kind::Topic)
    }

    /// A subscription's rules.
    pub(crate) fn rules(&self) -> Option<&Rules> {
        match &self.kind {
            Kind::Subscription(rules) => Some(rules),
            Kind::Queue | Kind::Topic => None,
        }
    }

    /// Changes the rules of a subscription; other entities have none.
    ///
    /// # Errors
    /// Those of `change`.
    pub(crate) fn change_rules<E>(
        &self,
        change: impl FnOnce(&mut RuleSet) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(rules) = self.rules() else {
            return Ok(());
        };
        let _unit = self.journal.as_ref().map(|(journal, _)| journal.unit());
        rules.with(|set| {
            change(set)?;
            if let Some((journal, name)) = &self.journal {
                match durable::rules::encode(&rules.configured, set.iter()) {
                    Ok(bytes) => journal.append(name, std::iter::once(Item::Rules(bytes))),
                    Err(error) => tracing::error!(entity = &*self.name, error = %error,
                        "A change of rules holds until the broker stops: it cannot be written"),
                }
            }
            Ok(())
        })
    }

    /// Whether its messages go on to another entity by themselves, so that nobody can receive them.
    pub(crate) fn is_forwarding(&self) -> bool {
        !self.is_topic() && !self.routes.ready.is_empty()
    }

    /// Bytes of the messages in a topic's subscriptions, which count towards its size; 0 for others.
    pub(super) fn size_of_subscriptions(&self) -> u64 {
        if !self.is_topic() {
            return 0;
        }
        let Some(router) = self.router.upgrade() else {
            return 0;
        };
        let subscriptions = self.routes.ready.iter();
        subscriptions
            .filter_map(|path| router.entity(path))
            .map(|subscription| lock(&subscription.core).size())
            .sum()
    }

    /// Does something with the queue, sees off the messages that leave by themselves after it, and
    /// wakes the receivers that have something to take.
    pub(crate) fn with<R>(&self, operate: impl FnOnce(&mut Queue, OffsetDateTime) -> R) -> R {
        // Until what sets out has arrived, so that no message is on disk nowhere.
        let _unit = self.journal.as_ref().map(|(journal, _)| journal.unit());
        let (result, has_departures) = self.operate(operate);
        if has_departures && let Some(router) = self.router.upgrade() {
            router.deliver();
        }
        result
    }

    /// As [`Entity::with`], but leaves it to the router, who calls this, to deliver departures. It
    /// belongs to the operation that the router is called by.
    pub(super) fn with_unrouted<R>(
        &self,
        operate: impl FnOnce(&mut Queue, OffsetDateTime) -> R,
    ) -> R {
        self.operate(operate).0
    }

    fn operate<R>(&self, operate: impl FnOnce(&mut Queue, OffsetDateTime) -> R) -> (R, bool) {
        let now = (self.clock)();
        let mut queue = lock(&self.core);
        let deadline = queue.next_deadline();
        let result = operate(&mut queue, now);
        let departures = queue.take_departures();
        let has_departures = !departures.is_empty();
        if has_departures && let Some(router) = self.router.upgrade() {
            // Under the queue's lock, so that they keep their order.
            router.take_over(departures, &self.name, &self.routes);
        }
        if let Some((journal, name)) = &self.journal {
            let changes = queue.take_changes();
            if !changes.is_empty() {
                // Under the queue's lock, so that they keep their order.
                journal.append(name, changes.into_iter().map(Item::Change));
            }
        }
        let woken = queue.take_woken();
        let is_earlier = match (deadline, queue.next_deadline()) {
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        drop(queue);
        if is_earlier {
            self.earlier.notify_one();
        }
        if !woken.is_empty() {
            let consumers = lock(&self.consumers);
            for consumer in woken {
                if let Some(connection) = consumers.get(&consumer) {
                    // A connection that has just ended leaves all its queues on its way out, which
                    // passes the wake on.
                    let _ = connection.send(consumer);
                }
            }
        }
        (result, has_departures)
    }

    /// Makes a receiver known, so that it can wait.
    pub(crate) fn join(&self, consumer: ConsumerId, connection: UnboundedSender<ConsumerId>) {
        lock(&self.consumers).insert(consumer, connection);
    }

    /// Forgets a receiver for good.
    pub(crate) fn part(&self, sub: SubQueue, consumer: ConsumerId) {
        lock(&self.consumers).remove(&consumer);
        self.with(|queue, _| queue.leave(sub, consumer));
    }

    /// Lets time do its work on the queue until the broker stops.
    pub(crate) async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let deadline = self.with(|queue, now| {
                queue.advance(now);
                queue.next_deadline()
            });
            let ring = async {
                match deadline {
                    Some(deadline) => {
                        let left = deadline - (self.clock)();
                        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
                        let left = left.min(LONGEST_SLEEP);
                        // Rounded up: the timer wheel counts milliseconds and must not ring early.
                        tokio::time::sleep(left + Duration::from_millis(1)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ring => {}
                () = self.earlier.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// A poisoned lock means a panic in another connection's task; its data are whole, because every
/// operation on them is, and the other connections go on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::bus::config::QueueConfig;
    use crate::bus::queue::message::Message;
    use crate::bus::wire::{section, values};

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_runs_out_wakes_a_waiting_receiver_without_any_other_cause() {
        let (begin, start) = (OffsetDateTime::UNIX_EPOCH, Instant::now());
        let clock: Clock = Arc::new(move || begin + start.elapsed());
        let queue = Queue::new(QueueConfig::named("q"));
        let entity = Arc::new(Entity::new("q".to_owned(), queue, clock));
        let stop = CancellationToken::new();
        let timer = tokio::spawn(Arc::clone(&entity).keep_time(stop.clone()));

        let body = serde_amqp::Value::Binary(b"x".to_vec().into());
        let bytes = values::section(section::DATA, body).unwrap();
        let message = Message::parse(&bytes.into(), &mut Uuid::new_v4).unwrap();
        let (wake, mut woken) = unbounded_channel();
        entity.join(7, wake);
        entity.with(|queue, now| {
            queue.enqueue(message, now);
            queue
                .lock_next(SubQueue::Main, Uuid::new_v4(), now)
                .unwrap();
            queue.wait(SubQueue::Main, 7);
        });
        // Time only passes while everybody waits for it.
        assert_eq!(woken.recv().await, Some(7));
        assert!(start.elapsed() >= Duration::from_secs(60));
        stop.cancel();
        timer.await.unwrap();
    }
}
