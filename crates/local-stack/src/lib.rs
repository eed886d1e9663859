//! Stand-ins for local runs and tests: everything around the two function apps, in process.
//!
//! Each part starts alone (`local_stack::target::Target::start(config).await?`), listens on
//! loopback only, and gives a handle to look inside. [`stack`] starts them all together, with both
//! function apps. None of this is ever shipped.

mod admin;
pub mod apps;
pub mod bus;
pub mod dataverse;
mod dice;
pub mod host;
pub mod identity;
pub mod insights;
mod serve;
pub mod stack;
pub mod target;
pub mod tls;
pub mod vault;

pub use serve::StartError;
