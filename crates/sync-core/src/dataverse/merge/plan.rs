//! When a page of gathered requests is sent. Pure.
//!
//! "Batch while busy": the first request of an idle client goes out at once and alone, and whatever
//! arrives while it is under way gathers for the next page. Under load a page therefore fills by
//! itself, at no cost in time while nothing is going on; a fixed wait would cost every lone request its
//! full length. Where it is known that others are about to come (the last page carried several rows),
//! a page lingers for them until none has come for some milliseconds.

use std::time::Duration;

use tokio::time::Instant;

/// Behind a slow page nobody waits longer than this: another page starts beside it.
const LONGEST_WAIT: Duration = Duration::from_millis(150);
/// While others keep coming, a page lingers this many times the linger at most.
const MOST_LINGERS: u32 = 5;
/// A page of several rows foretells company for this long.
const COMPANY: Duration = Duration::from_millis(500);

/// What a client has under way, over all tables, reads and writes.
///
/// It is one beat for all of them, so that rows move in step: while a page of acknowledgements is
/// written, the reads of those that follow gather, and the rows just written find them waiting.
#[derive(Debug, Default)]
pub(super) struct Beat {
    under_way: usize,
    company_until: Option<Instant>,
    ended_at: Option<Instant>,
    totals: PageTotals,
}

/// Requests that carried rows, and how many, since the client was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageTotals {
    /// Pages that were sent, reads and writes.
    pub pages: u64,
    /// Rows they carried.
    pub rows: u64,
}

impl PageTotals {
    /// Rows of a page on average; `None` before the first.
    #[must_use]
    pub fn mean_rows(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        (self.pages > 0).then(|| self.rows as f64 / self.pages as f64)
    }
}

impl Beat {
    /// What was sent so far.
    pub(super) fn totals(&self) -> PageTotals {
        self.totals
    }

    /// A page starts.
    pub(super) fn start(&mut self) {
        self.under_way += 1;
    }

    /// A page that carried `rows` has ended.
    pub(super) fn end(&mut self, rows: usize, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended_at = Some(now);
        if rows > 0 {
            self.totals.pages += 1;
            self.totals.rows += rows as u64;
        }
        if rows > 1 {
            self.company_until = Some(now + COMPANY);
        }
    }
}

/// The pages of one kind of request.
#[derive(Debug)]
pub(super) struct Plan {
    linger: Duration,
    /// Pages that have been decided on and wait for the right to be sent. They take their rows when
    /// they get it, so that a throttled client fills its pages.
    starting: usize,
}

impl Plan {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            linger,
            starting: 0,
        }
    }

    /// When another page is to be started, given how many requests wait, how many fit into a page, and
    /// since when each waits. `None`: not before something changes.
    pub(super) fn next(
        &self,
        beat: &Beat,
        waiting: usize,
        page: usize,
        since: impl Fn(usize) -> Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let taken = self.starting * page;
        let left = waiting.saturating_sub(taken);
        if left == 0 {
            return None;
        }
        if left >= page {
            return Some(now);
        }
        // Those before it will be taken by pages that are starting.
        let (oldest, newest) = (since(taken)?, since(waiting - 1)?);
        if beat.under_way > 0 {
            return Some(oldest + LONGEST_WAIT);
        }
        match beat.company_until {
            Some(until) if now < until => {
                let free = |at: Instant| beat.ended_at.map_or(at, |ended| ended.max(at));
                let latest = free(oldest) + self.linger * MOST_LINGERS;
                Some(latest.min(free(newest) + self.linger))
            }
            _ => Some(now),
        }
    }

    /// A page starts.
    pub(super) fn start(&mut self) {
        self.starting += 1;
    }

    /// A starting page has got the right to be sent, and takes its rows.
    pub(super) fn take(&mut self) {
        self.starting = self.starting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(3);
    const PAGE: usize = 50;

    fn next(plan: &Plan, beat: &Beat, waiting: usize, since: Instant) -> Option<Instant> {
        plan.next(beat, waiting, PAGE, |_| Some(since), since)
    }

    #[test]
    fn a_lone_request_of_an_idle_client_goes_at_once() {
        let (mut plan, mut beat, now) = (Plan::new(LINGER), Beat::default(), Instant::now());
        assert_eq!(next(&plan, &beat, 0, now), None);
        for _ in 0..3 {
            assert_eq!(next(&plan, &beat, 1, now), Some(now));
            plan.start();
            beat.start();
            plan.take();
            beat.end(1, now);
        }
    }

    #[test]
    fn while_a_page_is_under_way_others_gather_but_a_full_page_goes() {
        let (mut plan, mut beat, now) = (Plan::new(LINGER), Beat::default(), Instant::now());
        plan.start();
        beat.start();
        assert_eq!(next(&plan, &beat, PAGE, now), None, "it will take them");
        assert_eq!(next(&plan, &beat, 2 * PAGE, now), Some(now));
        plan.take();
        assert_eq!(next(&plan, &beat, 49, now), Some(now + LONGEST_WAIT));
        assert_eq!(next(&plan, &beat, 50, now), Some(now));
    }

    #[test]
    fn a_page_lingers_only_where_company_is_to_be_expected() {
        let (plan, mut beat, now) = (Plan::new(LINGER), Beat::default(), Instant::now());
        beat.start();
        beat.end(20, now);
        let later = now + Duration::from_millis(1);
        assert_eq!(next(&plan, &beat, 1, later), Some(later + LINGER));
        assert_eq!(next(&plan, &beat, 1, now), Some(now + LINGER));
        assert_eq!(next(&plan, &beat, 50, later), Some(later));
        let longest = now + LINGER * MOST_LINGERS;
        let since = |n| Some(if n == 0 { now } else { now + LINGER * n as u32 });
        assert_eq!(
            plan.next(&beat, 3, PAGE, since, now),
            Some(now + LINGER * 3),
            "as long as they come"
        );
        assert_eq!(plan.next(&beat, 30, PAGE, since, now), Some(longest));
        let quiet = now + COMPANY;
        assert_eq!(next(&plan, &beat, 1, quiet), Some(quiet));
    }
}
