//! What a topic and its subscriptions are made of.
//!
//! A subscription is a queue whose messages come through rules; so its settings are a queue's, and
//! everything a queue does with messages it does too.

use std::collections::HashSet;
use std::time::Duration;

use super::config::{ConfigError, QueueConfig};
use super::filter::Rule;

/// A topic. Defaults are those of a topic created in Azure, except that messages live for ever.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// Its name, which may have several segments (`a/b`). Compared without regard to case.
    pub name: String,
    /// Remember message ids for this long and drop repetitions; `None` takes every message.
    pub duplicate_detection_window: Option<Duration>,
    /// Time to live of messages that ask for none or for more; `None` lets them live for ever.
    pub default_ttl: Option<Duration>,
    /// Once the messages of its subscriptions, dead letters included, take up so many bytes, it
    /// takes no more of them; `None` sets no limit.
    pub max_size: Option<u64>,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionConfig>,
}

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionConfig {
    /// Name and settings, as for a queue. The name is the subscription's own, without the topic's.
    pub queue: QueueConfig,
    /// Whether messages on which a rule cannot be evaluated are dead-lettered rather than dropped.
    pub dead_letter_on_filter_errors: bool,
    /// The rules it starts with; without any it gets no message.
    pub rules: Vec<Rule>,
}

impl TopicConfig {
    /// A topic with the service's default settings and no subscription.
    pub fn named(name: impl Into<String>) -> Self {
        TopicConfig {
            name: name.into(),
            duplicate_detection_window: None,
            default_ttl: None,
            max_size: None,
            subscriptions: Vec::new(),
        }
    }

    /// A topic whose subscriptions each get every message.
    pub fn with_subscriptions<'a>(
        name: impl Into<String>,
        subscriptions: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        TopicConfig {
            subscriptions: subscriptions
                .into_iter()
                .map(SubscriptionConfig::named)
                .collect(),
            ..TopicConfig::named(name)
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.as_queue()
            .check()
            .map_err(|error| relabelled(error, "topic", &self.name))?;
        let mut names = HashSet::new();
        for subscription in &self.subscriptions {
            let name = &subscription.queue.name;
            let path = subscription_path(&self.name, name);
            let checked = subscription.queue.check();
            checked.map_err(|error| relabelled(error, "subscription", &path))?;
            if name.contains('/') {
                return Err(wrong(
                    "subscription",
                    &path,
                    "Name",
                    "must have one segment",
                ));
            }
            if subscription.queue.duplicate_detection_window.is_some() {
                let problem = "belongs to the topic, not to a subscription";
                let setting = "RequiresDuplicateDetection";
                return Err(wrong("subscription", &path, setting, problem));
            }
            if subscription.queue.max_size.is_some() {
                let problem = "belongs to the topic, not to a subscription";
                return Err(wrong("subscription", &path, "MaxSizeInMegabytes", problem));
            }
            if !names.insert(name.to_lowercase()) {
                let problem = "is the name of two subscriptions of the topic";
                return Err(wrong("subscription", &path, "Name", problem));
            }
            let mut rules = HashSet::new();
            for rule in &subscription.rules {
                if !rules.insert(rule.name().to_lowercase()) {
                    let path = format!("{path}/Rules/{}", rule.name());
                    let problem = "is the name of two rules of the subscription";
                    return Err(wrong("rule", &path, "Name", problem));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_forwarding(&self, names: &HashSet<String>) -> Result<(), ConfigError> {
        for subscription in &self.subscriptions {
            let path = subscription_path(&self.name, &subscription.queue.name);
            subscription
                .queue
                .check_forwarding(&path, names)
                .map_err(|error| relabelled(error, "subscription", &path))?;
        }
        Ok(())
    }

    /// The queue its messages pass through: where duplicates are found and schedules kept.
    pub(super) fn as_queue(&self) -> QueueConfig {
        QueueConfig {
            duplicate_detection_window: self.duplicate_detection_window,
            default_ttl: self.default_ttl,
            max_size: self.max_size,
            ..QueueConfig::named(&self.name)
        }
    }

    pub(super) fn wrong(&self, setting: &str, problem: &str) -> ConfigError {
        wrong("topic", &self.name, setting, problem)
    }
}

impl SubscriptionConfig {
    /// A subscription with the service's default settings, which gets every message.
    pub fn named(name: impl Into<String>) -> Self {
        SubscriptionConfig {
            queue: QueueConfig::named(name),
            dead_letter_on_filter_errors: true,
            rules: vec![Rule::select_all()],
        }
    }
}

/// Where a subscription is found: `topic/Subscriptions/name`.
pub(super) fn subscription_path(topic: &str, name: &str) -> String {
    format!("{topic}/Subscriptions/{name}")
}

pub(super) fn wrong(
    kind: &'static str,
    name: &str,
    setting: &str,
    problem: impl Into<String>,
) -> ConfigError {
    ConfigError::Entity {
        kind,
        name: name.to_owned(),
        setting: setting.to_owned(),
        problem: problem.into(),
    }
}

/// A queue's setting that turned out wrong, told of the topic or subscription it belongs to.
pub(super) fn relabelled(error: ConfigError, kind: &'static str, name: &str) -> ConfigError {
    match error {
        ConfigError::Queue {
            setting, problem, ..
        } => wrong(kind, name, &setting, problem),
        other => other,
    }
}
