//! Dataverse over its Web API: the reads of the passes, the conditional writes of acknowledgements, and
//! the outbox.

mod answer;
mod client;
mod outbox;
mod rows;

pub use answer::{ServiceError, classify};
pub use client::{DataverseClient, Precondition};
pub use outbox::DataverseOutbox;
