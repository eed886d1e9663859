//! Where the messages that were given up on a queue are, and where they go back to.

use service_bus::{Client, dead_letter_queue};
use sync_core::topic;

/// A subscription's rules say for no target that a message sent back would reach it.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The rules were not read.
    #[error(transparent)]
    Bus(#[from] service_bus::Error),
    /// No copy would come back, or it would come to others, too.
    #[error(
        "subscription {subscription}: its rules let in the copies of no one target, so that a message sent back might reach \
         another target or none. Give it the one rule `{example}`, as infra/ does"
    )]
    NoTarget {
        /// The subscription.
        subscription: String,
        /// The rule that it should have.
        example: String,
    },
}

/// Where the messages that were given up on one queue are, and where they go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    name: String,
    from: String,
    to: String,
    target: Option<String>,
}

impl Place {
    /// The dead-letter queue of a queue.
    #[must_use]
    pub fn queue(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            from: dead_letter_queue(&name),
            to: name.clone(),
            target: None,
            name,
        }
    }

    /// The dead-letter queue of the subscription that serves `target`. What is sent back goes over the
    /// topic, marked as that target's.
    #[must_use]
    pub fn subscription(topic: &str, subscription: &str, target: impl Into<String>) -> Self {
        let name = format!("{topic}/Subscriptions/{subscription}");
        Self {
            from: dead_letter_queue(&name),
            to: topic.to_owned(),
            target: Some(target.into()),
            name,
        }
    }

    /// The queue that takes, with sessions, what was given up on `outbound`.
    #[must_use]
    pub fn rejected(rejected: impl Into<String>, outbound: impl Into<String>) -> Self {
        let name = rejected.into();
        Self {
            from: name.clone(),
            to: outbound.into(),
            target: None,
            name,
        }
    }

    /// The place of a queue's name or a subscription's path (`topic/Subscriptions/name`); of a
    /// subscription the rules are read, which say what target it serves.
    ///
    /// # Errors
    /// When they cannot be read or serve no one target.
    pub async fn find(client: &Client, entity: &str) -> Result<Self, PlaceError> {
        let Some((topic, subscription)) = of_topic(entity) else {
            return Ok(Self::queue(entity));
        };
        let rules = client.rules(entity).await?;
        let target = topic::target(&rules).ok_or_else(|| PlaceError::NoTarget {
            subscription: entity.to_owned(),
            example: topic::expression(subscription),
        })?;
        Ok(Self::subscription(topic, subscription, target))
    }

    /// The queue or subscription that the messages were given up on, or the queue of rejected messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that they are received from.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The queue or topic that they are sent back to.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The one target that they are for.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }
}

/// Topic and subscription of a path. The broker does not care how "Subscriptions" is written.
fn of_topic(path: &str) -> Option<(&str, &str)> {
    let (topic, rest) = path.split_once('/')?;
    let (word, subscription) = rest.split_once('/')?;
    word.eq_ignore_ascii_case("subscriptions")
        .then_some((topic, subscription))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_goes_back_to_where_it_came_from() {
        let queue = Place::queue("inbound");
        assert_eq!(queue.from(), "inbound/$deadletterqueue");
        assert_eq!(queue.to(), "inbound");
        let subscription = Place::subscription("outbound", "north", "warehouse");
        let from = "outbound/Subscriptions/north/$deadletterqueue";
        assert_eq!((subscription.from(), subscription.to()), (from, "outbound"));
        assert_eq!(subscription.target(), Some("warehouse"));
        let rejected = Place::rejected("outbound-rejected", "outbound");
        assert_eq!(
            (rejected.from(), rejected.to()),
            ("outbound-rejected", "outbound")
        );
    }

    #[test]
    fn a_path_with_a_subscription_is_no_queue() {
        assert_eq!(of_topic("t/subscriptions/s"), Some(("t", "s")));
        assert_eq!(of_topic("t/Subscriptions/s"), Some(("t", "s")));
        assert_eq!(of_topic("team/orders"), None);
        assert_eq!(of_topic("orders"), None);
    }
}
