//! Where notifications come from and go to: a queue, or a topic's subscription whose rule is checked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use sync_core::queue::ServiceBusQueue;
use sync_core::settings::{OutboundSetting, SettingsError};
use sync_core::topic::{Verdict, expression, judge};
use tracing::warn;

use crate::App;

/// The host waits for the app meanwhile, and gives up after a minute.
const PATIENCE: Duration = Duration::from_secs(10);

impl App {
    /// Where new notifications are posted.
    #[must_use]
    pub fn posting(&self) -> Arc<ServiceBusQueue> {
        let entity = self.settings.outbound.entity();
        Arc::new(ServiceBusQueue::new(self.bus.clone(), entity))
    }

    /// Where notifications are taken from and their retry copies go to. Reads a subscription's rules;
    /// a namespace that does not tell them does not keep the app from starting.
    ///
    /// # Errors
    /// When the topic's subscription is not named, or its rules would lose retry copies or let in those
    /// of other targets.
    pub async fn notifications(&self) -> anyhow::Result<Arc<ServiceBusQueue>> {
        let (topic, subscription) = match &self.settings.outbound {
            OutboundSetting::Queue(_) => return Ok(self.posting()),
            OutboundSetting::Topic {
                topic,
                subscription: Some(subscription),
            } => (topic, subscription),
            OutboundSetting::Topic { .. } => bail!(SettingsError::Outbound {
                problem: "the topic is given without the subscription of this target",
            }),
        };
        let target = &self.settings.config()?.target_system;
        let queue = ServiceBusQueue::subscription(self.bus.clone(), topic, subscription, target);
        let rules = match tokio::time::timeout(PATIENCE, queue.rules()).await {
            Ok(Ok(rules)) => rules,
            Ok(Err(error)) => {
                warn!(
                    topic,
                    subscription,
                    "the rules of subscription {subscription} of topic {topic} are not checked: {error}"
                );
                return Ok(Arc::new(queue));
            }
            Err(_) => {
                warn!(
                    topic,
                    subscription,
                    "the rules of subscription {subscription} of topic {topic} are not checked: no answer within {} s",
                    PATIENCE.as_secs()
                );
                return Ok(Arc::new(queue));
            }
        };
        match judge(&rules, target) {
            Verdict::Fits => {}
            Verdict::CannotTell { rules } => warn!(
                topic,
                subscription,
                "whether subscription {subscription} of topic {topic} gets the retry copies of targetSystem {target} and no others cannot be told: {rules}. \"{}\" would be sure",
                expression(target)
            ),
            Verdict::Wrong { problem, rules } => bail!(
                "setting OUTBOUND_SUBSCRIPTION={subscription}: that subscription of topic {topic} {problem} (targetSystem of its sync file is {target}): {rules}. Delete the rules at fault with `az servicebus topic subscription rule delete`, and create the right one: az servicebus topic subscription rule create --resource-group RESOURCE_GROUP --namespace-name NAMESPACE --topic-name {topic} --subscription-name {subscription} --name target --filter-sql-expression \"{}\"",
                expression(target)
            ),
        }
        Ok(Arc::new(queue))
    }
}
