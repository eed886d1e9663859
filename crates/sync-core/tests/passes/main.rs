//! The passes and the outbox sweep, as behaviour, over in-memory worlds.
#![allow(clippy::unwrap_used)]

mod backlog;
mod crash_points;
mod inbound;
mod outbound;
mod requires;
mod rows;
mod world;
