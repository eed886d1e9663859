//! The entities of a stack's Service Bus namespace.

use std::time::Duration;

use super::OUTBOUND;
use crate::bus::{QueueConfig, Rule, RuleError, SubscriptionConfig, TopicConfig};

/// A queue with duplicate detection, as one would set it up in Azure.
pub(super) fn queue(name: &str) -> QueueConfig {
    QueueConfig {
        lock_duration: Duration::from_secs(30),
        duplicate_detection_window: Some(Duration::from_secs(600)),
        ..QueueConfig::named(name)
    }
}

/// A topic as one would set it up in Azure, with a subscription per target.
pub(super) fn topic<'a>(further: impl Iterator<Item = &'a str>) -> Result<TopicConfig, RuleError> {
    let subscription = |name: &str| {
        let expression = format!("TargetSystem IS NULL OR TargetSystem = '{name}'");
        Ok(SubscriptionConfig {
            queue: QueueConfig {
                lock_duration: Duration::from_secs(30),
                ..QueueConfig::named(name)
            },
            rules: vec![Rule::sql("target", &expression)?],
            ..SubscriptionConfig::named(name)
        })
    };
    let names = ["customer-api", "witness"].into_iter().chain(further);
    Ok(TopicConfig {
        duplicate_detection_window: Some(Duration::from_secs(600)),
        subscriptions: names.map(subscription).collect::<Result<_, _>>()?,
        ..TopicConfig::named(OUTBOUND)
    })
}
