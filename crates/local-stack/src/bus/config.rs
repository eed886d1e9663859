//! What a broker serves: its address and its queues.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::queue::MAX_LOCK_DURATION;

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
    /// The largest encoded message that is taken, in bytes.
    pub max_message_size: usize,
}

impl BrokerConfig {
    /// A broker with these queues, on any free loopback port.
    pub fn new(queues: impl IntoIterator<Item = QueueConfig>) -> Self {
        BrokerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            queues: queues.into_iter().collect(),
            max_message_size: STANDARD_MESSAGE_SIZE,
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
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let segments = self.name.split('/');
        if segments
            .clone()
            .any(|segment| segment.is_empty() || segment.starts_with('$'))
        {
            return Err(self.wrong("Name", "is not the name of a queue"));
        }
        if self.lock_duration.is_zero() || self.lock_duration > MAX_LOCK_DURATION {
            return Err(self.wrong("LockDuration", "must be above zero and at most 5 minutes"));
        }
        if self.max_delivery_count == 0 {
            return Err(self.wrong("MaxDeliveryCount", "must be at least 1"));
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
    /// Something that is not a queue.
    #[error("{what} {name:?}: not supported by this broker, which serves queues only")]
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
