//! What a broker serves: its address, its queues and its topics.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::queue::MAX_LOCK_DURATION;
use super::security::Security;
use super::timeouts::Timeouts;
use super::topic::TopicConfig;

/// The largest message of the Standard tier, in bytes (Azure doc "Service Bus quotas").
pub const STANDARD_MESSAGE_SIZE: usize = 256 * 1024;
/// The largest message of the Premium tier as first set up, in bytes (same source).
pub const PREMIUM_MESSAGE_SIZE: usize = 1024 * 1024;

/// What a broker serves.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where to listen; port 0 (the default, on the loopback address) takes any free port.
    pub listen: SocketAddr,
    /// The queues; every other entity is refused with `amqp:not-found`.
    pub queues: Vec<QueueConfig>,
    /// The topics with their subscriptions.
    pub topics: Vec<TopicConfig>,
    /// The largest encoded message that is taken, in bytes.
    pub max_message_size: usize,
    /// Whom to trust; `None` takes any token that is well-formed, and links without one.
    pub security: Option<Security>,
    /// How long idle links and connections are kept.
    pub timeouts: Timeouts,
    /// The directory in which everything is kept that a restart must not lose; `None` keeps it in
    /// memory only.
    pub data: Option<PathBuf>,
}

impl BrokerConfig {
    /// A broker with these queues, on any free loopback port.
    pub fn new(queues: impl IntoIterator<Item = QueueConfig>) -> Self {
        BrokerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            queues: queues.into_iter().collect(),
            topics: Vec::new(),
            max_message_size: STANDARD_MESSAGE_SIZE,
            security: None,
            timeouts: Timeouts::default(),
            data: None,
        }
    }

    /// A broker with queues of these names and the service's default settings.
    pub fn with_queues<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        BrokerConfig::new(names.into_iter().map(QueueConfig::named))
    }

    /// Checks names and limits.
    ///
    /// # Errors
    /// Names the queue and the setting that cannot be served.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut names = HashSet::new();
        for queue in &self.queues {
            queue.check()?;
            if !names.insert(queue.name.to_lowercase()) {
                return Err(queue.wrong("Name", "is the name of two queues"));
            }
        }
        for topic in &self.topics {
            topic.check()?;
            if !names.insert(topic.name.to_lowercase()) {
                return Err(topic.wrong("Name", "is the name of two queues or topics"));
            }
        }
        for queue in &self.queues {
            queue.check_forwarding(&queue.name, &names)?;
        }
        for topic in &self.topics {
            topic.check_forwarding(&names)?;
        }
        Ok(())
    }
}

/// One queue. Defaults are those of a queue created in Azure, except that messages are kept without
/// time limit there for 14 days and here for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Its name, which may have several segments (`a/b`). Compared without regard to case.
    pub name: String,
    /// How long a receiver holds a message before it is given to another. At most five minutes.
    pub lock_duration: Duration,
    /// After so many failed deliveries a message is dead-lettered.
    pub max_delivery_count: u32,
    /// Remember message ids for this long and drop repetitions; `None` takes every message.
    pub duplicate_detection_window: Option<Duration>,
    /// Time to live of messages that ask for none or for more; `None` lets them live for ever.
    pub default_ttl: Option<Duration>,
    /// Whether messages belong to sessions, which are received one by one and in order.
    pub requires_session: bool,
    /// Whether messages whose time to live runs out are dead-lettered rather than dropped.
    pub dead_letter_on_expiration: bool,
    /// The queue or topic its messages are passed on to.
    pub forward_to: Option<String>,
    /// The queue or topic its dead-lettered messages are passed on to.
    pub forward_dead_letters_to: Option<String>,
    /// Once its messages, dead letters included, take up so many bytes, it takes no more of them;
    /// `None` sets no limit.
    pub max_size: Option<u64>,
}

impl QueueConfig {
    /// A queue with the service's default settings.
    pub fn named(name: impl Into<String>) -> Self {
        QueueConfig {
            name: name.into(),
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            duplicate_detection_window: None,
            default_ttl: None,
            requires_session: false,
            dead_letter_on_expiration: false,
            forward_to: None,
            forward_dead_letters_to: None,
            max_size: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let segments = self.name.split('/');
        if segments
            .clone()
            .any(|segment| segment.is_empty() || segment.starts_with('$'))
        {
            return Err(self.wrong(
                "Name",
                "is not a name: segments must not be empty or begin with $",
            ));
        }
        if self.lock_duration.is_zero() || self.lock_duration > MAX_LOCK_DURATION {
            return Err(self.wrong("LockDuration", "must be above zero and at most 5 minutes"));
        }
        if self.max_delivery_count == 0 {
            return Err(self.wrong("MaxDeliveryCount", "must be at least 1"));
        }
        Ok(())
    }

    /// Checks that forwarding leads to one of the queues and topics called `names` (in lower case),
    /// as the service does when an entity is made. `path` is where the queue itself is found.
    pub(super) fn check_forwarding(
        &self,
        path: &str,
        names: &HashSet<String>,
    ) -> Result<(), ConfigError> {
        if self.requires_session && self.forward_to.is_some() {
            // Azure doc "Chaining Service Bus entities with autoforwarding".
            return Err(self.wrong("ForwardTo", "is not for an entity with RequiresSession"));
        }
        let settings = [
            ("ForwardTo", &self.forward_to),
            (
                "ForwardDeadLetteredMessagesTo",
                &self.forward_dead_letters_to,
            ),
        ];
        for (setting, destination) in settings {
            let Some(destination) = destination else {
                continue;
            };
            let lower = destination.to_lowercase();
            if lower == path.to_lowercase() {
                return Err(self.wrong(setting, "leads to the entity itself"));
            }
            if !names.contains(&lower) {
                let problem =
                    format!("{destination:?} is neither a queue nor a topic of this broker");
                return Err(self.wrong(setting, &problem));
            }
        }
        Ok(())
    }

    pub(super) fn wrong(&self, setting: &str, problem: &str) -> ConfigError {
        ConfigError::Queue {
            queue: self.name.clone(),
            setting: setting.to_owned(),
            problem: problem.to_owned(),
        }
    }
}

/// A configuration this broker cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A queue's setting is wrong or not supported.
    #[error("queue {queue:?}: {setting} {problem}")]
    Queue {
        /// The queue's name.
        queue: String,
        /// The setting, as the configuration file calls it.
        setting: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting of a topic, a subscription or a rule is wrong or not supported.
    #[error("{kind} {name:?}: {setting} {problem}")]
    Entity {
        /// `topic`, `subscription` or `rule`.
        kind: &'static str,
        /// Its path, for example `orders/Subscriptions/billing`.
        name: String,
        /// The setting, as the configuration file calls it.
        setting: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something this broker does not have.
    #[error("{what} {name:?}: not supported by this broker")]
    Unsupported {
        /// The kind of entity.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The configuration file is not JSON of the expected shape.
    #[error("the configuration file cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}
