//! Queues over the real client, and how a disposition is carried out on one.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::SmallRng;
use service_bus::{Client, OutgoingMessage, Properties, Settlement, SubscriptionRule};
use tracing::Span;
use uuid::Uuid;

use crate::decide::{Disposition, decide};
use crate::failure::Failure;
use crate::message::{Message, RETRY_COUNT};
use crate::policy::RetryPolicy;
use crate::ports::{Clock, Queue, SharedRng};
use crate::sessions::rejected_copy;
use crate::topic::TARGET_SYSTEM;
use crate::trace;

/// One Service Bus entity.
#[derive(Clone)]
pub struct ServiceBusQueue {
    client: Client,
    /// Where messages wait.
    entity: String,
    /// Where what is sent goes to, and the target that it is for alone, if they wait on a subscription.
    topic: Option<(String, String)>,
}

impl ServiceBusQueue {
    /// A queue by name.
    pub fn new(client: Client, entity: impl Into<String>) -> Self {
        Self {
            client,
            entity: entity.into(),
            topic: None,
        }
    }

    /// The subscription of a topic that serves `target`. What is sent goes to the topic and comes back
    /// to this subscription alone, by its rule; see [`crate::topic`].
    pub fn subscription(
        client: Client,
        topic: &str,
        subscription: &str,
        target: impl Into<String>,
    ) -> Self {
        Self {
            client,
            entity: Self::subscription_path(topic, subscription),
            topic: Some((topic.to_owned(), target.into())),
        }
    }

    /// The path of a subscription.
    #[must_use]
    pub fn subscription_path(topic: &str, subscription: &str) -> String {
        format!("{topic}/Subscriptions/{subscription}")
    }

    /// As telemetry names it: the namespace, and the entity within it.
    fn address(&self, entity: &str) -> String {
        format!("{}/{entity}", self.client.namespace())
    }

    /// Where messages wait.
    #[must_use]
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// Where messages wait, as telemetry names it.
    #[must_use]
    pub fn source(&self) -> String {
        self.address(&self.entity)
    }

    /// The rules of the subscription.
    ///
    /// # Errors
    /// When the namespace refuses or does not answer.
    pub async fn rules(&self) -> Result<Vec<SubscriptionRule>, service_bus::Error> {
        self.client.rules(&self.entity).await
    }
}

fn ended(span: &Span, went: &Result<(), service_bus::Error>) {
    match went {
        Ok(()) => trace::ended(span, Ok(())),
        Err(e) => trace::ended(span, Err(&e.to_string())),
    }
}

#[async_trait]
impl Queue for ServiceBusQueue {
    async fn send(&self, mut message: OutgoingMessage) -> Result<(), service_bus::Error> {
        let to = match &self.topic {
            None => &self.entity,
            Some((topic, target)) => {
                let target = target.as_str().into();
                message.properties.insert(TARGET_SYSTEM.into(), target);
                topic
            }
        };
        let span = trace::posting(&format!("send {to}"), &self.address(to));
        trace::inject(&span, &mut message.properties);
        let sent = self.client.send(to, message).await;
        ended(&span, &sent);
        sent
    }

    async fn dead_letter(
        &self,
        lock_token: Uuid,
        reason: &str,
        description: &str,
        mut properties: Properties,
    ) -> Result<(), service_bus::Error> {
        // Who resends it to the topic means this target, not those that have long delivered it.
        if let Some((_, target)) = &self.topic {
            properties.insert(TARGET_SYSTEM.into(), target.as_str().into());
        }
        let settlement = Settlement::DeadLetter {
            reason: reason.to_owned(),
            description: description.to_owned(),
            properties,
        };
        let name = format!("dead-letter {}", self.entity);
        let span = trace::posting(&name, &self.address(&self.entity));
        let settling = self.client.settle(&self.entity, lock_token, settlement);
        let settled = settling.await;
        ended(&span, &settled);
        settled
    }
}

/// Decides what becomes of the messages of one queue, and carries it out.
#[derive(Clone)]
pub struct Settler {
    queue: Arc<dyn Queue>,
    /// Where given-up messages are sent to, if they cannot be dead-lettered by lock token.
    rejected: Option<Arc<dyn Queue>>,
    clock: Arc<dyn Clock>,
    rng: SharedRng,
}

/// The disposition could not be carried out: the invocation must fail, so that the host abandons the
/// message and the broker delivers it again. Nothing is lost, a duplicate is possible.
#[derive(Debug, thiserror::Error)]
#[error("message {message_id} is left to the broker, since its {step} failed: {source}")]
pub struct NotSettled {
    /// The message.
    pub message_id: String,
    /// What was being done.
    pub step: &'static str,
    /// Why it failed.
    pub source: service_bus::Error,
}

impl Settler {
    /// For the messages of `queue`.
    pub fn new(queue: Arc<dyn Queue>, clock: Arc<dyn Clock>, rng: SharedRng) -> Self {
        Self {
            queue,
            rejected: None,
            clock,
            rng,
        }
    }

    /// Sends a copy of each given-up message to `rejected` and leaves the message itself to the host:
    /// a message of a session is settled by nobody but the link that holds the session.
    #[must_use]
    pub fn rejecting_to(mut self, rejected: Arc<dyn Queue>) -> Self {
        self.rejected = Some(rejected);
        self
    }

    /// The time of the clock that decides.
    pub(crate) fn now(&self) -> time::OffsetDateTime {
        self.clock.now()
    }

    /// What becomes of `message`.
    #[must_use]
    pub fn decide(
        &self,
        message: &Message,
        outcome: Result<(), &Failure>,
        policy: &RetryPolicy,
    ) -> Disposition {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let rng: &mut SmallRng = &mut rng;
        decide(&message.attempt(), outcome, policy, self.clock.now(), rng)
    }

    /// Carries a disposition out, in the order *send, then settle*: a crash in between leaves a
    /// duplicate, the other order would leave a hole. Completing is left to the host, which does it
    /// once the invocation is answered.
    ///
    /// # Errors
    /// [`NotSettled`]: answer the host with a failure.
    pub async fn carry_out(
        &self,
        message: &Message,
        disposition: &Disposition,
        failure: Option<&Failure>,
    ) -> Result<(), NotSettled> {
        let (step, done) = match (disposition, failure) {
            (Disposition::Complete, _) | (_, None) => return Ok(()),
            (Disposition::Reschedule { delay, counts }, Some(failure)) => {
                let copy = message.retry_copy(self.clock.now(), *delay, *counts, failure);
                ("rescheduling", self.queue.send(copy).await)
            }
            (
                Disposition::DeadLetter {
                    reason,
                    description,
                },
                Some(failure),
            ) => {
                let properties = explain(message, failure);
                let settled = match &self.rejected {
                    Some(rejected) => {
                        let copy = rejected_copy(message, reason, description, properties);
                        rejected.send(copy).await
                    }
                    None => {
                        let lock = message.lock_token;
                        let settled = self
                            .queue
                            .dead_letter(lock, reason, description, properties);
                        settled.await
                    }
                };
                ("dead-lettering", settled)
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(source) => Err(self.leave_to_broker(message, step, source).await),
        }
    }

    /// Holds a message that cannot be settled for a while, the longer the more often it came: the broker
    /// delivers it again at once, and an outage of sending alone would burn its deliveries in seconds.
    pub(crate) async fn leave_to_broker(
        &self,
        message: &Message,
        step: &'static str,
        source: service_bus::Error,
    ) -> NotSettled {
        let pause = Duration::from_secs(1 << message.delivery_count.saturating_sub(1).min(5));
        tokio::time::sleep(pause).await;
        let message_id = message.message_id.clone();
        NotSettled {
            message_id,
            step,
            source,
        }
    }
}

/// What an operator filters and groups dead-lettered messages by, as application properties.
fn explain(message: &Message, failure: &Failure) -> Properties {
    let retry_count = i32::try_from(message.retry_count()).unwrap_or(i32::MAX);
    let mut properties = Properties::from([
        ("FailureCode".to_owned(), failure.code.into()),
        ("FailureStage".to_owned(), failure.stage.as_str().into()),
        (RETRY_COUNT.to_owned(), retry_count.into()),
    ]);
    if let Some(status) = failure.status {
        properties.insert("FailureStatus".into(), i32::from(status).into());
    }
    properties
}
