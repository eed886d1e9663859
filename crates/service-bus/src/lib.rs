//! Azure Service Bus client over AMQP 1.0: send, schedule, settle by lock token, peek, receive.
//!
//! A [`Client`] is cheap to clone, connects on first use and reconnects by itself. Every call has a
//! deadline ([`ClientOptions::operation_timeout`]); within it, failures that may pass are retried.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use service_bus::{Client, ClientOptions, OutgoingMessage, ReceiveMode, Settlement};
//!
//! let client = Client::from_connection_string(
//!     "Endpoint=sb://localhost;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true",
//!     ClientOptions::default(),
//! )?;
//! client.send("orders", OutgoingMessage::new("hello")).await?;
//!
//! let mut receiver = client.receiver("orders", ReceiveMode::PeekLock, 10).await?;
//! for message in receiver.receive(10, std::time::Duration::from_secs(5)).await? {
//!     receiver.settle(&message, Settlement::Complete).await?;
//! }
//! receiver.close().await?;
//! # Ok(()) }
//! ```
//!
//! **A send that is retried may duplicate.** When the connection breaks after the message left and
//! before the broker's answer came, nobody can know whether it was stored, so it is sent again. Give
//! every message a stable `message_id` and switch on the entity's duplicate detection where a
//! duplicate would hurt.
//!
//! The crate knows nothing of what the messages mean, and shows nothing of the AMQP library beneath.

mod authorization;
mod client;
mod connection;
mod connection_string;
mod credential;
mod entity;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod message;
mod namespace;
mod options;
mod receiver;
mod retry;
mod rule;
mod sas;
mod session_receiver;
mod settlement;
mod sync;
mod transport;
mod tries;
mod value;
mod wire;

pub use client::Client;
pub use connection_string::{ConnectionString, ConnectionStringError, Endpoint};
pub use credential::{BearerToken, BoxError, Credential, TokenProvider};
pub use entity::dead_letter_queue;
pub use error::{Error, ErrorClass, ErrorKind};
pub use message::{MessageState, OutgoingMessage, ReceivedMessage};
pub use options::ClientOptions;
pub use receiver::Receiver;
pub use rule::{CorrelationFilter, Filter, SubscriptionRule};
pub use session_receiver::SessionReceiver;
pub use settlement::{ReceiveMode, Settlement};
pub use value::{Properties, Value};
