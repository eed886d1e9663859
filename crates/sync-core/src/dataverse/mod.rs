//! Dataverse over its Web API: the reads of the passes, the conditional writes of acknowledgements, and
//! the outbox.
//!
//! A request takes this way: [`rows`] asks for one row, as the passes do; [`merge`] makes one request of
//! what is asked for at the same time; [`identities`] says when it may be sent, and by whom; [`client`]
//! sends it; [`answer`] and [`classify`](mod@classify) say what the answer
//! means.

mod answer;
mod batch;
mod changes;
mod classify;
mod client;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod identities;
mod merge;
mod metadata;
mod multiple;
mod outbox;
mod query;
mod report;
mod request;
mod rows;
mod settings;

pub use answer::ServiceError;
pub use changes::{ChangePage, Changes, RowChange, Since};
pub use classify::classify;
pub use client::{DataverseClient, DataverseOptions};
pub use identities::{IdentitySnapshot, Limit, RequestLimit};
pub use merge::{Merging, PageTotals};
pub use metadata::TableNames;
pub use outbox::DataverseOutbox;
pub use query::{Columns, Key, RowPages, Select};
pub use report::{GOVERNOR, MERGING};
pub use request::Precondition;
pub use settings::DataverseSettings;
