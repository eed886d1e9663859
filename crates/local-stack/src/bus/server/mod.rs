//! The broker's connections: sockets, the AMQP state of each, and the nodes behind the links.
//!
//! One task per connection ([`connection`]) moves bytes; the protocol itself ([`engine`],
//! [`session`] and the modules beside them) is synchronous and does no I/O. Queues are shared
//! between connections and live in [`entity`].

pub(crate) mod accept;
pub(crate) mod address;
mod attach;
mod cbs;
mod claims;
pub(crate) mod connection;
mod context;
mod disposition;
mod disturbed;
mod engine;
pub(crate) mod entity;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
mod frames;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gate;
mod handshake;
pub(crate) mod hub;
mod idle;
mod incoming;
mod link;
mod management;
mod namespace;
mod outgoing;
pub(crate) mod registry;
mod request;
mod requests;
pub(crate) mod router;
mod session;

#[cfg(test)]
mod tests;
