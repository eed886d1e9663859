//! What one identity may do now: how many requests at a time, how many per window, and whether it was
//! told to stay away. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::{Rate, RequestLimit};

/// Requests at a time to begin with.
const START: f64 = 8.0;
/// Dataverse refuses the 53rd concurrent request of a user; some of them may be somebody else's.
const MOST: f64 = 48.0;

/// Which limit a throttle named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Too many requests, or too much execution time, within the window: both call for fewer requests.
    Window,
    /// Too many at a time.
    Concurrency,
}

/// What a request taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataverse) enum Lesson {
    /// Answered; with `x-ms-dop-hint`, the parallelism the server recommends, where it came along.
    Served {
        /// The hint.
        hint: Option<u32>,
    },
    /// Refused by a service protection limit.
    Throttled {
        /// Which.
        limit: Limit,
        /// For how long the identity is to stay away.
        retry_after: Duration,
    },
    /// Lost, or never sent.
    Nothing,
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Now,
    /// Not before.
    At(Instant),
    /// When one under way has ended.
    Later,
}

#[derive(Debug)]
pub(super) struct Governor {
    limit: f64,
    hint: Option<u32>,
    in_flight: u32,
    gated_until: Option<Instant>,
    eased_at: Option<Instant>,
    rate: Rate,
    pub(super) requests: u64,
    pub(super) throttled: u64,
}

impl Governor {
    pub(super) fn new(limit: RequestLimit, now: Instant) -> Self {
        Self {
            limit: START,
            hint: None,
            in_flight: 0,
            gated_until: None,
            eased_at: None,
            rate: Rate::new(limit, now),
            requests: 0,
            throttled: 0,
        }
    }

    /// Requests at a time allowed now.
    pub(super) fn at_a_time(&self) -> u32 {
        // At least one: nothing would ever be learned again.
        self.limit.min(self.ceiling()).max(1.0) as u32
    }

    fn ceiling(&self) -> f64 {
        self.hint.map_or(MOST, |hint| MOST.min(f64::from(hint)))
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn per_second(&self) -> f64 {
        self.rate.per_second()
    }

    /// How much of what is allowed is in use: the least loaded identity is asked next.
    pub(super) fn load(&self) -> f64 {
        f64::from(self.in_flight) / f64::from(self.at_a_time())
    }

    /// How long the identity still has to stay away.
    pub(super) fn gated_for(&self, now: Instant) -> Duration {
        self.gated_until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub(super) fn ready(&mut self, now: Instant) -> Ready {
        if let Some(until) = self.gated_until.filter(|until| *until > now) {
            return Ready::At(until);
        }
        if self.in_flight >= self.at_a_time() {
            return Ready::Later;
        }
        match self.rate.ready(now) {
            Ok(()) => Ready::Now,
            Err(at) => Ready::At(at),
        }
    }

    /// A request goes.
    pub(super) fn begin(&mut self, now: Instant) {
        self.in_flight += 1;
        self.requests += 1;
        self.rate.take(now);
    }

    /// A request that began at `begun` has ended. True when what is allowed changed noticeably.
    pub(super) fn end(&mut self, begun: Instant, lesson: Lesson, now: Instant) -> bool {
        let was_full = self.in_flight >= self.at_a_time();
        self.in_flight = self.in_flight.saturating_sub(1);
        match lesson {
            Lesson::Nothing => false,
            Lesson::Served { hint } => {
                let changed = hint.is_some() && hint != self.hint;
                self.hint = hint.or(self.hint);
                // Only what was used up is known to be bearable: one more per round of answers.
                if was_full {
                    self.limit = (self.limit + 1.0 / self.limit.max(1.0)).min(self.ceiling());
                }
                changed
            }
            Lesson::Throttled { limit, retry_after } => {
                self.throttled += 1;
                let until = now + retry_after;
                self.gated_until = self.gated_until.max(Some(until));
                self.rate.refused(now);
                // Requests that were under way together are refused together: that is one lesson, not
                // one per request.
                if self.eased_at.is_none_or(|at| begun >= at) {
                    self.eased_at = Some(now);
                    self.limit = (self.limit.min(self.ceiling()) / 2.0).max(1.0);
                    if limit == Limit::Window {
                        self.rate.throttled(now, until);
                    }
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(governor: &mut Governor, now: Instant) -> u32 {
        let mut begun = 0;
        while governor.ready(now) == Ready::Now {
            governor.begin(now);
            begun += 1;
        }
        begun
    }

    fn throttled(limit: Limit) -> Lesson {
        let retry_after = Duration::from_secs(7);
        Lesson::Throttled { limit, retry_after }
    }

    #[test]
    fn more_are_allowed_at_a_time_only_when_all_were_used_and_answered() {
        let now = Instant::now();
        let mut governor = Governor::new(RequestLimit::default(), now);
        governor.begin(now);
        governor.end(now, Lesson::Served { hint: None }, now);
        assert_eq!(governor.at_a_time(), 8);
        for _ in 0..9 {
            full(&mut governor, now);
            governor.end(now, Lesson::Served { hint: None }, now);
        }
        assert_eq!(governor.at_a_time(), 9);
    }

    #[test]
    fn requests_that_are_refused_together_halve_once_and_all_wait_as_long_as_asked() {
        let now = Instant::now();
        let mut governor = Governor::new(RequestLimit::default(), now);
        assert_eq!(full(&mut governor, now), 8);
        let later = now + Duration::from_millis(20);
        for _ in 0..8 {
            governor.end(now, throttled(Limit::Concurrency), later);
        }
        assert_eq!(governor.at_a_time(), 4);
        assert_eq!(governor.throttled, 8);
        let until = later + Duration::from_secs(7);
        assert_eq!(governor.ready(later), Ready::At(until));
        assert_eq!(governor.gated_for(later), Duration::from_secs(7));
        assert_eq!(governor.ready(until), Ready::Now);
    }

    #[test]
    fn the_servers_hint_is_a_ceiling() {
        let now = Instant::now();
        let mut governor = Governor::new(RequestLimit::default(), now);
        governor.begin(now);
        assert!(governor.end(now, Lesson::Served { hint: Some(4) }, now));
        assert_eq!(full(&mut governor, now), 4);
    }

    #[test]
    fn one_request_at_a_time_is_always_left() {
        let now = Instant::now();
        let mut governor = Governor::new(RequestLimit::default(), now);
        for second in 0..20 {
            let now = now + Duration::from_secs(8 * second);
            governor.begin(now);
            governor.end(now, throttled(Limit::Concurrency), now);
        }
        assert_eq!(governor.at_a_time(), 1);
    }
}
