//! Wall-clock time made of the runtime's virtual time.

use sync_core::ports::Clock;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::Instant;

/// When every run begins.
pub(crate) const BEGINNING: OffsetDateTime = datetime!(2026-03-02 08:00:00 UTC);

/// Virtual wall-clock time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimClock {
    started: Instant,
}

impl SimClock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> OffsetDateTime {
        BEGINNING + self.started.elapsed()
    }
}
