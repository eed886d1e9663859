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
//! Beside them, what tests need of a namespace: `fault` and [`Hooks`] make it misbehave on purpose,
//! [`Security`] has it look at tokens, [`Timeouts`] has it lose patience.
//!
//! `durable` keeps in a directory what a restart must not lose; without one all is in memory.
//!
//! Not here: transactions, TLS.

mod admin;
mod broker;
mod config;
mod config_file;
mod durable;
mod fault;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hooks;
mod iso_duration;
mod queue;
mod security;
mod server;
mod timeouts;
mod topic;
mod view;
mod wire;

pub use admin::BrokerAdmin;
pub use broker::{Broker, StartError};
pub use config::{
    BrokerConfig, ConfigError, PREMIUM_MESSAGE_SIZE, QueueConfig, STANDARD_MESSAGE_SIZE,
};
pub use durable::DataError;
pub use fault::{Chance, ConnectionView, Disturbance, Fault, Operation, SERVER_BUSY, Script, Whom};
pub use filter::{CorrelationFilter, Rule, RuleError};
pub use hooks::Hooks;
pub use security::{AuthorizationRule, Identities, LOCAL_KEY, Rights, Role, Security};
pub use serde_amqp::Value as PropertyValue;
pub use timeouts::Timeouts;
pub use topic::{SubscriptionConfig, TopicConfig};
pub use view::{Counters, MessageState, MessageView, QueueCounts, QueueSnapshot};

#[cfg(test)]
mod tests;
