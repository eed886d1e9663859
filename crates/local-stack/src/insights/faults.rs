//! What goes wrong at ingestion, on purpose.

use serde::{Deserialize, Serialize};

/// How ingestion is not there at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// It is there.
    #[default]
    No,
    /// Connections break before anything is answered.
    Cut,
    /// Requests are taken and never answered.
    Silent,
}

/// Scripted failures of the track operation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InsightsFaults {
    /// Whether it is there.
    pub outage: Outage,
    /// The status to answer: 402 and 439 mean a quota, 429 throttling, 500 and 503 trouble. `None` ends it.
    pub fail_with: Option<u16>,
    /// So many requests, and then no more; `None` means all.
    pub fail_next: Option<u32>,
    /// `Retry-After` of these answers, seconds.
    pub retry_after_s: Option<u64>,
    /// The status of single items, in an answer 206 that takes the others in.
    pub refuse_items_with: Option<u16>,
    /// So many items, and then no more; `None` means all.
    pub refuse_next_items: Option<u32>,
    /// Answers take so much longer, milliseconds.
    pub delay_ms: u64,
}

impl InsightsFaults {
    /// The status that a request fails with.
    pub(super) fn draw(&mut self) -> Option<u16> {
        draw(self.fail_with, &mut self.fail_next)
    }

    /// The status that an item is refused with.
    pub(super) fn draw_item(&mut self) -> Option<u16> {
        draw(self.refuse_items_with, &mut self.refuse_next_items)
    }
}

fn draw(status: Option<u16>, left: &mut Option<u32>) -> Option<u16> {
    let status = status?;
    if let Some(left) = left {
        *left = left.checked_sub(1)?;
    }
    Some(status)
}
