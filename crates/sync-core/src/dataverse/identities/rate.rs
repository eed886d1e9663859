//! How many requests per window one identity may send, learned from the throttles it met. Pure.
//!
//! Dataverse counts requests per identity and web server in a sliding window ("Service protection API
//! limits", Power Apps docs: 6,000 per 300 s). How many web servers there are, and who else uses the
//! identity, is unknown, so the sum is learned: what was sent in the window that ended with a throttle
//! is what the environment bears. From then on requests are spread evenly a little below it, because a
//! limit on concurrency alone would run into the wall once per window, whatever its size.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The documented limit of one web server and its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestLimit {
    /// Requests that one web server takes from one identity within the window.
    pub requests: u32,
    /// The sliding window.
    pub window: Duration,
}

impl Default for RequestLimit {
    fn default() -> Self {
        Self {
            requests: 6000,
            window: Duration::from_secs(300),
        }
    }
}

/// A token bucket whose rate adapts.
#[derive(Debug)]
pub(super) struct Rate {
    limit: RequestLimit,
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
    /// Somebody had to wait for a token since the last step: more could be used.
    wanted: bool,
    stepped_at: Instant,
    /// Requests per window the environment bore, and when it said so.
    learned: Option<(f64, Instant)>,
    sent: Trailing,
}

/// Steps of growth per window.
const STEPS: f64 = 10.0;
/// After a throttle: this part of what was borne.
const BACK_OFF: f64 = 0.97;
/// What may be saved up, as a part of what was borne.
const BURST: f64 = 0.02;
/// What a step adds while the bound is known, as a part of it: a quarter of a percent per window, so
/// that the wall is touched, and a 429 paid, once in many windows.
const CAREFUL: f64 = 0.0025 / STEPS;
/// What a step adds while the bound was not met for long.
const BOLD: f64 = 0.05;
/// What a step adds while the bound is unknown: four times as much after a window.
const SEEKING: f64 = 0.15;
/// Windows without a throttle after which careful growth doubles with every further one.
const CALM_WINDOWS: i32 = 8;

impl Rate {
    /// Half the documented limit at once, the other half over the window: one server's limit is kept
    /// from the start, and an idle app's first burst need not wait.
    pub(super) fn new(limit: RequestLimit, now: Instant) -> Self {
        let half = f64::from(limit.requests.max(2)) / 2.0;
        Self {
            limit,
            per_second: half / limit.window.as_secs_f64(),
            burst: half,
            tokens: half,
            filled_at: now,
            wanted: false,
            stepped_at: now,
            learned: None,
            sent: Trailing::new(limit.window, now),
        }
    }

    /// Requests per second allowed now.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Whether a request may go now; if not, when the next one may.
    pub(super) fn ready(&mut self, now: Instant) -> Result<(), Instant> {
        self.step(now);
        self.fill(now);
        if self.tokens >= 1.0 {
            return Ok(());
        }
        self.wanted = true;
        let wait = (1.0 - self.tokens) / self.per_second;
        // Rounded up: a timer that fires a hair early would find nothing.
        Err(now + Duration::from_secs_f64(wait) + Duration::from_millis(1))
    }

    /// A request goes.
    pub(super) fn take(&mut self, now: Instant) {
        self.tokens -= 1.0;
        self.sent.add(now);
    }

    /// A request was refused, so that it is no part of what the environment bears.
    pub(super) fn refused(&mut self, now: Instant) {
        self.sent.take_back(now);
    }

    /// The environment refused requests for having had too many, and is left alone until `until`. Says
    /// nothing about our own rate when we used less than half of what we allow ourselves: somebody else
    /// used the identity up, and staying away is enough.
    pub(super) fn throttled(&mut self, now: Instant, until: Instant) {
        self.fill(now);
        let window = self.limit.window.as_secs_f64();
        let sent = self.sent.count(now);
        if sent < 0.5 * self.per_second * window {
            return;
        }
        self.learned = Some((sent, now));
        // Others may share the identity and make us learn too little; from this floor we always recover.
        let floor = 0.2 * f64::from(self.limit.requests) / window;
        self.per_second = (BACK_OFF * sent / window).max(floor);
        self.burst = (BURST * sent).max(1.0);
        // Nothing is saved up while staying away: spent at once, it would be too much within the window
        // that begins then.
        self.tokens = self.tokens.min(0.0);
        self.filled_at = until;
        self.stepped_at = now;
        self.wanted = false;
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.filled_at = self.filled_at.max(now);
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
    }

    fn step(&mut self, now: Instant) {
        let window = self.limit.window.as_secs_f64();
        let passed = now.saturating_duration_since(self.stepped_at);
        if passed.as_secs_f64() < window / STEPS {
            return;
        }
        self.stepped_at = now;
        if !std::mem::take(&mut self.wanted) {
            return;
        }
        // Tokens so far were earned at the old rate.
        self.fill(now);
        let bold = self.per_second * BOLD;
        self.per_second += match self.learned {
            None => self.per_second * SEEKING,
            Some((borne, at)) => {
                let calm = now.saturating_duration_since(at).as_secs_f64() / window;
                let doublings = (calm as i32 - CALM_WINDOWS).clamp(0, 20);
                (CAREFUL * borne / window * f64::from(1 << doublings)).min(bold)
            }
        };
    }
}

/// What was sent within the last window, in slots: exact to a sixty-fourth of it.
#[derive(Debug)]
struct Trailing {
    slot: Duration,
    start: Instant,
    slots: VecDeque<(u128, u32)>,
}

const SLOTS: u32 = 64;

impl Trailing {
    fn new(window: Duration, start: Instant) -> Self {
        let slot = (window / SLOTS).max(Duration::from_nanos(1));
        Self {
            slot,
            start,
            slots: VecDeque::new(),
        }
    }

    fn index(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.start).as_nanos() / self.slot.as_nanos()
    }

    fn add(&mut self, now: Instant) {
        let index = self.index(now);
        match self.slots.back_mut() {
            Some((last, count)) if *last == index => *count += 1,
            _ => self.slots.push_back((index, 1)),
        }
        self.forget(index);
    }

    fn take_back(&mut self, now: Instant) {
        self.forget(self.index(now));
        if let Some((_, count)) = self.slots.back_mut() {
            *count = count.saturating_sub(1);
        }
    }

    fn count(&mut self, now: Instant) -> f64 {
        self.forget(self.index(now));
        self.slots.iter().map(|(_, count)| f64::from(*count)).sum()
    }

    fn forget(&mut self, index: u128) {
        while self
            .slots
            .front()
            .is_some_and(|(slot, _)| slot + u128::from(SLOTS) <= index)
        {
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RequestLimit = RequestLimit {
        requests: 60,
        window: Duration::from_secs(3),
    };

    /// A server that refuses whoever sent `most` within its window, and a caller that always wants more.
    /// Returns how many were served and refused.
    fn push(rate: &mut Rate, start: Instant, most: usize, seconds: f64) -> (u32, u32) {
        let (mut served, mut refused) = (0, 0);
        let mut window: VecDeque<Instant> = VecDeque::new();
        let (mut now, end) = (start, start + Duration::from_secs_f64(seconds));
        while now < end {
            if let Err(at) = rate.ready(now) {
                now = at;
                continue;
            }
            rate.take(now);
            while window.front().is_some_and(|at| *at + LIMIT.window <= now) {
                window.pop_front();
            }
            if window.len() < most {
                window.push_back(now);
                served += 1;
            } else {
                refused += 1;
                // Retry-After is in whole seconds.
                let retry_after = Duration::from_secs(1);
                rate.refused(now);
                rate.throttled(now, now + retry_after);
                now += retry_after;
            }
        }
        (served, refused)
    }

    #[test]
    fn the_allowed_rate_is_used_and_the_wall_hardly_touched() {
        for servers in [1, 2, 4] {
            let now = Instant::now();
            let mut rate = Rate::new(LIMIT, now);
            let most = 60 * servers;
            let (served, refused) = push(&mut rate, now, most, 180.0);
            let share = f64::from(served) / (60.0 * most as f64);
            let thrown_away = f64::from(refused) / f64::from(served + refused);
            assert!(share > 0.9, "{servers} servers: {share}");
            assert!(thrown_away < 0.005, "{servers} servers: {thrown_away}");
        }
    }

    #[test]
    fn a_throttle_that_others_caused_leaves_our_rate_alone() {
        let now = Instant::now();
        let mut rate = Rate::new(LIMIT, now);
        rate.take(now);
        let before = rate.per_second();
        let later = now + Duration::from_secs(1);
        rate.throttled(later, later + Duration::from_secs(9));
        assert_eq!(rate.per_second(), before);
    }

    #[test]
    fn however_little_was_borne_the_rate_recovers() {
        let now = Instant::now();
        let mut rate = Rate::new(LIMIT, now);
        push(&mut rate, now, 1, 30.0);
        let later = now + Duration::from_secs(30);
        assert!(rate.per_second() >= 4.0 - f64::EPSILON);
        push(&mut rate, later, 1000, 200.0);
        assert!(rate.per_second() > 20.0, "{}", rate.per_second());
    }
}
