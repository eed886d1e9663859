//! The broker's connections: sockets, the AMQP state of each, and the nodes behind the links.
//!
//! One task per connection ([`connection`]) moves bytes; the protocol itself ([`engine`],
//! [`session`] and the modules beside them) is synchronous and does no I/O. Queues are shared
//! between connections and live in [`entity`].

pub(crate) mod accept;
mod address;
mod attach;
mod cbs;
pub(crate) mod connection;
mod context;
mod disposition;
mod engine;
pub(crate) mod entity;
mod failure;
mod handshake;
pub(crate) mod hub;
mod incoming;
mod link;
mod management;
mod outgoing;
mod request;
mod session;

#[cfg(test)]
mod tests;
