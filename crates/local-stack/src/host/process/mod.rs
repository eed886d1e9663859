//! The handler process: starting it, watching it, and the rules for its end.

mod child;
mod exit_rule;
mod lines;
mod supervisor;

pub(crate) use child::{Launch, free_port};
pub(crate) use lines::Log;
pub use lines::{LineLevel, LineSink, LineSource, LogLine};
pub(crate) use supervisor::{Command, Ended, HandlerState, HandlerStats, Supervisor};
