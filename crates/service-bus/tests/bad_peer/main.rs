//! The client against a peer that behaves as a broker does on a bad day, or worse.

// Helpers outside of test functions may panic too.
#![allow(clippy::unwrap_used)]

mod bad_days;
mod hostile;
mod in_flight;
mod peer;
