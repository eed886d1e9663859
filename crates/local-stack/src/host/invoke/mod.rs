//! One invocation: the HTTP call, what its answer means, and the messages it sends.

mod client;
mod dispatcher;
mod http_output;
mod outputs;
mod response;

pub(crate) use client::HandlerClient;
pub use dispatcher::Invocations;
pub(crate) use dispatcher::{Counters, Dispatcher, InvocationError};
pub(crate) use outputs::Outputs;
