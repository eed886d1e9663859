//! Stand-ins for local runs and tests: everything around the two function apps, in process.
//!
//! Each part starts alone (`local_stack::target::Target::start(config).await?`), listens on
//! loopback only, and gives a handle to look inside. None of this is ever shipped.

mod admin;
mod dice;
pub mod identity;
mod serve;
pub mod target;
pub mod tls;
pub mod vault;

pub use serve::StartError;
