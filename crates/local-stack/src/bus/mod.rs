//! Azure Service Bus on a local port: queues over AMQP 1.0, true enough to the service for its
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
//! Three layers, each knowing only those before it:
//! - `wire`: bytes to frames, performatives and message sections, and back;
//! - `queue`: one queue as a pure state machine, told the time and never asking for it;
//! - `server`: connections, sessions, links, `$cbs` and `$management`.
//!
//! Where the service's behaviour is not written down anywhere, the choice made here is marked with
//! its source in the SDKs, or listed in `docs/azure-assumptions.md`.
//!
//! Not here: topics, transactions, persistence, token verification, TLS, the service's
//! own time-outs for idle links.

mod broker;
mod config;
mod config_file;
mod iso_duration;
mod queue;
mod server;
mod view;
mod wire;

pub use broker::{Broker, StartError};
pub use config::{
    BrokerConfig, ConfigError, PREMIUM_MESSAGE_SIZE, QueueConfig, STANDARD_MESSAGE_SIZE,
};
pub use view::{Counters, MessageState, MessageView, QueueCounts, QueueSnapshot};

#[cfg(test)]
mod tests;
