//! What was spent within the last so many seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Amounts with the moments they were spent at, oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    spent: VecDeque<(Instant, u64)>,
    sum: u64,
}

impl Window {
    pub(super) fn add(&mut self, now: Instant, amount: u64) {
        self.spent.push_back((now, amount));
        self.sum += amount;
    }

    /// The sum of what was spent in the `width` before `now`; forgets what is older.
    pub(super) fn sum(&mut self, now: Instant, width: Duration) -> u64 {
        while let Some((at, amount)) = self.spent.front() {
            if now.saturating_duration_since(*at) < width {
                break;
            }
            self.sum -= amount;
            self.spent.pop_front();
        }
        self.sum
    }

    /// How long until the sum is below `limit`, if nothing more is spent.
    pub(super) fn wait(&self, now: Instant, width: Duration, limit: u64) -> Duration {
        let mut left = self.sum;
        for (at, amount) in &self.spent {
            if left < limit {
                break;
            }
            left -= amount;
            if left < limit {
                return (*at + width).saturating_duration_since(now);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_older_than_the_window_no_longer_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        window.add(at(0), 3);
        window.add(at(4), 5);
        assert_eq!(window.sum(at(9), WIDTH), 8);
        assert_eq!(window.sum(at(10), WIDTH), 5);
        assert_eq!(window.sum(at(14), WIDTH), 0);
    }

    #[test]
    fn there_is_room_when_enough_has_left_the_window() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        window.add(at(0), 3);
        window.add(at(4), 5);
        assert_eq!(window.wait(at(5), WIDTH, 9), Duration::ZERO);
        assert_eq!(window.wait(at(5), WIDTH, 8), Duration::from_secs(5));
        assert_eq!(window.wait(at(5), WIDTH, 5), Duration::from_secs(9));
    }
}
