//! How many rows a page carries: more while pages are full and quick, half after one that was lost or
//! slow. Execution time is the next limit after the number of requests. Pure.

use std::time::Duration;

/// Rows added after a full, quick page.
const STEP: usize = 5;

/// How a page went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    /// Answered after this long.
    Answered(Duration),
    /// Not answered at all, or refused for its size or duration.
    Lost,
}

#[derive(Debug)]
pub(super) struct PageSize {
    rows: usize,
    least: usize,
    most: usize,
    timeout: Duration,
}

impl PageSize {
    /// Begins at `rows`; one page may take `timeout`, and `most` rows fit into its address.
    pub(super) fn new(rows: usize, most: usize, timeout: Duration) -> Self {
        let most = (rows * 4).min(most).max(1);
        Self {
            rows: rows.clamp(1, most),
            least: (rows / 5).clamp(1, most),
            most,
            timeout,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn learn(&mut self, rows: usize, went: Went) {
        match went {
            Went::Answered(took) if took <= self.timeout / 8 => {
                if rows >= self.rows {
                    self.rows = (self.rows + STEP).min(self.most);
                }
            }
            Went::Answered(took) if took <= self.timeout / 4 => {}
            Went::Answered(_) | Went::Lost => {
                // A small page that was slow says nothing about the size of pages.
                if rows > self.least {
                    self.rows = (self.rows.min(rows) / 2).max(self.least);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_full_and_quick_and_halve_when_slow_within_their_bounds() {
        let timeout = Duration::from_secs(30);
        let quick = Went::Answered(Duration::from_millis(200));
        let mut size = PageSize::new(50, 180, timeout);
        size.learn(49, quick);
        assert_eq!(size.rows(), 50, "not full");
        for _ in 0..100 {
            size.learn(size.rows(), quick);
        }
        assert_eq!(size.rows(), 180);
        size.learn(180, Went::Answered(Duration::from_secs(8)));
        assert_eq!(size.rows(), 90);
        size.learn(1, Went::Lost);
        assert_eq!(size.rows(), 90, "a single row was slow, not the page");
        for _ in 0..9 {
            size.learn(size.rows(), Went::Lost);
        }
        assert_eq!(size.rows(), 10);
    }
}
