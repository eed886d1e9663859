//! Links: the paths of messages to and from the broker. Each has a session of its own (or shares it
//! with the other half of its pair), so that what breaks one leaves the others alone.

mod frames;
pub(crate) mod guard;
pub(crate) mod inlet;
pub(crate) mod outlet;
pub(crate) mod requester;
mod session;
pub(crate) mod tap;
pub(crate) mod witness;
