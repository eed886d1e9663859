//! Stand-ins for local runs and tests: everything around the two function apps, in process.
//!
//! Each part starts alone (`local_stack::target::Target::start(config).await?`), listens on
//! loopback only, and gives a handle to look inside. None of this is ever shipped.

mod admin;
pub mod bus;
mod dice;
pub mod apps;
pub mod host;
pub mod identity;
mod serve;
pub mod target;
pub mod tls;
pub mod vault;

pub use serve::StartError;
