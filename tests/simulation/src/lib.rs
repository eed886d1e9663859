//! Deterministic simulation of the whole loop.
//!
//! The shipped code (`sync_core`'s outbound, inbound and outbox passes) runs against a simulated world:
//! a Dataverse, two queues, a target and the Functions host, all behind the ports that the real clients
//! implement. Everything that can fail fails, at rates drawn from the seed: answers are lost, locks
//! expire, instances die at any await, parts are stopped and come back in another order. When the faults
//! stop, the backlog has to drain, and a ledger compares what the world recorded with what was promised
//! (ARCHITECTURE.md, "Invariants").
//!
//! **How it runs.** One current-thread tokio runtime with a paused clock per seed: when no task can
//! run, time jumps to the next timer, so hours of backoff cost nothing. All randomness, also that of
//! the shipped code, comes from generators seeded by the seed; nothing iterates over a hash map; nothing
//! reads the wall clock. The same seed gives the same events, which a test checks by their hash.
//!
//! **Why no simulation library.** `turmoil` wakes every host once per simulated millisecond, which makes
//! hours of virtual backoff slow, and simulates sockets, which the ports abstract away. `madsim` swaps
//! the runtime and the crates that use it, so that it would not be the shipped code that runs.
//!
//! Reading order: [`plan`] (what a seed means), `world` (who is in it), `wire` (what a call is), the parts
//! `dataverse`, `broker`, `target`, `instance`, `outage`, `operator`, then [`run`] and the [`ledger`].
#![forbid(unsafe_code)]

mod broker;
mod clock;
mod dataverse;
mod dice;
pub mod figures;
mod instance;
pub mod journal;
pub mod ledger;
mod life;
mod operator;
mod outage;
pub mod plan;
pub mod run;
pub mod shrink;
mod target;
mod truth;
mod wire;
mod world;
