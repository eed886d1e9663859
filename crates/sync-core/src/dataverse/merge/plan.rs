//! When a page of gathered requests is sent. Pure.
//!
//! "Batch while busy": the first request of an idle client goes out at once and alone, and whatever
//! arrives while it is under way gathers for the next page. Under load a page therefore fills by
//! itself, at no cost in time while nothing is going on; a fixed wait would cost every lone request its
//! full length. Where it is known that others are about to come (the last page carried several rows),
//! a page lingers some milliseconds for them.

use std::time::Duration;

use tokio::time::Instant;

/// Behind a slow page nobody waits longer than this: another page starts beside it.
const LONGEST_WAIT: Duration = Duration::from_millis(150);
/// A page of several rows foretells company for this long.
const COMPANY: Duration = Duration::from_millis(500);

/// What is under way.
#[derive(Debug)]
pub(super) struct Plan {
    linger: Duration,
    /// Pages that have been decided on and wait for the right to be sent. They take their rows when
    /// they get it, so that a throttled client fills its pages.
    starting: usize,
    running: usize,
    company_until: Option<Instant>,
    ended_at: Option<Instant>,
}

impl Plan {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            linger,
            starting: 0,
            running: 0,
            company_until: None,
            ended_at: None,
        }
    }

    /// When another page is to be started, given how many requests wait, how many fit into a page, and
    /// since when the oldest waits that no starting page will take. `None`: not before something
    /// changes.
    pub(super) fn next(
        &self,
        waiting: usize,
        page: usize,
        oldest: impl Fn(usize) -> Option<Instant>,
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
        let since = oldest(taken)?;
        if self.starting + self.running > 0 {
            return Some(since + LONGEST_WAIT);
        }
        match self.company_until {
            Some(until) if now < until => {
                Some(self.ended_at.map_or(since, |ended| ended.max(since)) + self.linger)
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
        self.running += 1;
    }

    /// A page that carried `rows` has ended.
    pub(super) fn end(&mut self, rows: usize, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.ended_at = Some(now);
        if rows > 1 {
            self.company_until = Some(now + COMPANY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(3);
    const PAGE: usize = 50;

    fn next(plan: &Plan, waiting: usize, since: Instant, now: Instant) -> Option<Instant> {
        plan.next(waiting, PAGE, |_| Some(since), now)
    }

    #[test]
    fn a_lone_request_of_an_idle_client_goes_at_once() {
        let (mut plan, now) = (Plan::new(LINGER), Instant::now());
        assert_eq!(next(&plan, 0, now, now), None);
        for _ in 0..3 {
            assert_eq!(next(&plan, 1, now, now), Some(now));
            plan.start();
            plan.take();
            plan.end(1, now);
        }
    }

    #[test]
    fn while_a_page_is_under_way_others_gather_but_a_full_page_goes() {
        let (mut plan, now) = (Plan::new(LINGER), Instant::now());
        plan.start();
        assert_eq!(
            next(&plan, PAGE, now, now),
            None,
            "the starting page takes them"
        );
        assert_eq!(next(&plan, 2 * PAGE, now, now), Some(now));
        plan.take();
        assert_eq!(next(&plan, 49, now, now), Some(now + LONGEST_WAIT));
        assert_eq!(next(&plan, 50, now, now), Some(now));
    }

    #[test]
    fn a_page_lingers_only_where_company_is_to_be_expected() {
        let (mut plan, now) = (Plan::new(LINGER), Instant::now());
        plan.start();
        plan.take();
        plan.end(20, now);
        let later = now + Duration::from_millis(1);
        assert_eq!(next(&plan, 1, later, later), Some(later + LINGER));
        assert_eq!(next(&plan, 1, now - LINGER, later), Some(now + LINGER));
        assert_eq!(next(&plan, 50, later, later), Some(later));
        let quiet = now + COMPANY;
        assert_eq!(next(&plan, 1, quiet, quiet), Some(quiet));
    }
}
