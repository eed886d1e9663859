//! The Functions host stand-in with a real child process: exit rules, timeouts, timers, and messages
//! from the queue to their settlement.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on should panic

mod app;
mod batches;
mod fleet;
mod handler;
mod http;
mod messages;
mod process;
mod sessions;
mod timers;
