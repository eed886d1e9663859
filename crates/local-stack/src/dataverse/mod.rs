//! Dataverse: accounts, contacts and the outbox table behind the Web API, with the plug-in.
//!
//! Contract: "Use the Microsoft Dataverse Web API" (Power Apps docs). A query option, header or
//! path that is not played is refused, never ignored: what passes here must not fail there.
//!
//! A save runs the plug-in's steps as the platform does: the synchronous step writes the outbox row
//! in the same transaction ([`Step`]); the asynchronous one posts it to Service Bus after the save
//! has returned ([`NotificationSender`]). A table may instead be registered for the platform's own
//! event, a `RemoteExecutionContext` ([`Emission::Native`]).

mod cell;
mod config;
mod error;
mod execution_context;
mod faults;
mod handle;
mod journal;
mod notification;
mod odata;
mod payload;
mod posting;
mod protection;
mod sample;
mod schema;
mod script;
mod service;
mod state;
mod steps;
mod store;
mod telemetry;
mod trace;
mod transaction;
mod users;
mod web;

pub use config::{DataverseConfig, TlsPort};
pub use faults::DataverseFaults;
pub use handle::{Dataverse, SaveError, Saved};
pub use journal::{AckWrite, Change, DataverseCounters, Operation, RequestCounts, RequestKind};
pub use posting::{BusSender, NotificationSender, OutboundNotification, PostFailed};
pub use protection::{Costs, Limit, Limits, ProtectionCounts, ServerCounts, Spread, WebServers};
pub use script::{BodyShape, KNOWN_ANSWERS, KnownAnswer, Script, ScriptedAnswer, ScriptedFault};
pub use steps::{Emission, ListedStep, Step};
pub use telemetry::PlugInTelemetry;
pub use users::Depth;
pub use web::USER_HEADER;

use state::State;
