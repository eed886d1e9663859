//! What dataverse-sync is: the messages, the decisions, and the passes that turn a notification into
//! a delivered and acknowledged row.
//!
//! Reading order for a newcomer:
//!
//! 1. [`notification`] and [`acknowledgement`]: what travels on the two queues.
//! 2. [`failure`], [`policy`] and [`decide`]: the pure core. What went wrong, how patient we are, and
//!    what therefore becomes of the message. No I/O; clock and randomness are arguments.
//! 3. [`ports`]: the four things the passes need from the outside world, as traits.
//! 4. [`outbound`] and [`inbound`]: the passes themselves, written against the ports only, so that a
//!    simulation runs exactly the code that ships.
//! 5. [`breaker`] and [`guarded`]: the ports behind circuit breakers.
//! 6. [`dataverse`], [`target`], [`credentials`], [`queue`]: the ports over real clients.
#![forbid(unsafe_code)]

pub mod acknowledgement;
pub mod breaker;
pub mod config;
pub mod credentials;
pub mod dataverse;
pub mod decide;
mod exact;
pub mod failure;
pub mod flight;
pub mod guarded;
pub mod inbound;
pub mod mapping;
pub mod message;
mod metrics;
pub mod notification;
pub mod outbound;
pub mod outbox;
pub mod patience;
pub mod policy;
pub mod ports;
pub mod queue;
pub mod reconcile;
mod retry_after;
pub mod sessions;
pub mod settings;
pub mod snapshot;
pub mod target;
pub mod topic;
pub mod trace;
