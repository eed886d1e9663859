//! Azure Service Bus on a local port: queues and topics over AMQP 1.0, true enough to the service for its
//! official clients.
//!
//! ```no_run
//! use local_stack::bus::{Broker, BrokerConfig};
//!
//! # async fn example() -> Result<(), local_stack::bus::StartError> {
//! let broker = Broker::start(BrokerConfig::with_queues(["outbound", "inbound"])).await?;
//! println!("{}", broker.connection_string());
//! # Ok(())
//! # }
//! ```
//!
//! Four layers, each knowing only those before it:
//! - `wire`: bytes to frames, performatives and message sections, and back;
//! - `queue`: one queue as a pure state machine, told the time and never asking for it. A topic is a
//!   queue in which nothing stays, a subscription one that gets its messages through rules;
//! - `filter`: these rules, as pure as `queue`;
//! - `server`: connections, sessions, links, `$cbs` and `$management`.
//!
//! Where the service's behaviour is not written down anywhere, the choice made here is marked with
//! its source in the SDKs, or listed in `docs/azure-assumptions.md`.
//!
//! Not here: sessions, transactions, persistence, token verification, TLS, the service's
//! own time-outs for idle links.

mod broker;
mod config;
mod config_file;
mod filter;
mod iso_duration;
mod queue;
mod server;
mod topic;
mod view;
mod wire;

pub use broker::{Broker, StartError};
pub use config::{
    BrokerConfig, ConfigError, PREMIUM_MESSAGE_SIZE, QueueConfig, STANDARD_MESSAGE_SIZE,
};
pub use filter::{CorrelationFilter, Rule, RuleError};
pub use serde_amqp::Value as PropertyValue;
pub use topic::{SubscriptionConfig, TopicConfig};
pub use view::{Counters, MessageState, MessageView, QueueCounts, QueueSnapshot};

#[cfg(test)]
mod tests;
