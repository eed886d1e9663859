//! The whole loop over real processes: both function apps as the host's child processes, and every
//! stand-in around them.
#![allow(clippy::unwrap_used)]

mod canaries;
mod credentials;
mod envelopes;
mod failures;
mod ingestion;
mod long_texts;
mod otlp;
mod sessions;
mod topic;
mod traces;
mod travels;
mod world;
