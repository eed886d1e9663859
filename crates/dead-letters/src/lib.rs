//! Dead letters of the sync's queues: what they say ([`Letter`]), which are meant ([`Wanted`]), what there
//! are ([`look`]), and how they are sent again or put aside ([`Work`]).
//!
//! Nothing here deletes a letter before its copy, or its line in a file, is safe. Whatever ends the work
//! early, a crash included, leaves duplicates at worst, and a duplicate is harmless: what is delivered is
//! the row as it is when the message is taken.
#![forbid(unsafe_code)]

mod aside;
mod copy;
mod groups;
mod held;
mod letter;
mod look;
mod place;
mod wanted;
mod work;

pub use aside::Aside;
pub use groups::{Group, Groups};
pub use letter::{Letter, RESEND_ID};
pub use look::look;
pub use place::{Place, PlaceError};
pub use wanted::Wanted;
pub use work::{Action, End, Outcome, Progress, Work, WorkError};
