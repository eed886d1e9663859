//! What happened, in order: hashed always, kept when a story is wanted.

use std::fmt;

use time::OffsetDateTime;

use crate::clock::BEGINNING;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Virtual milliseconds since the beginning.
    pub at_ms: i128,
    /// The row it is about, by its number in this run.
    pub row: Option<usize>,
    /// What happened, as a clause.
    pub text: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_ms as f64 / 1000.0;
        match self.row {
            Some(row) => write!(f, "{seconds:>10.3}s  row {row:<2} {}", self.text),
            None => write!(f, "{seconds:>10.3}s         {}", self.text),
        }
    }
}

/// The event log of a run.
#[derive(Debug)]
pub struct Journal {
    hash: u64,
    kept: Option<Vec<Event>>,
    count: u64,
}

impl Journal {
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            kept: keep.then(Vec::new),
            count: 0,
        }
    }

    pub(crate) fn note(&mut self, now: OffsetDateTime, row: Option<usize>, text: String) {
        let at_ms = (now - BEGINNING).whole_milliseconds();
        self.count += 1;
        // FNV-1a: stable between builds, which std's hashers do not promise.
        let row_number = row.map_or(u64::MAX, |r| r as u64);
        let bytes = at_ms
            .to_le_bytes()
            .into_iter()
            .chain(row_number.to_le_bytes());
        for byte in bytes.chain(text.bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(Event { at_ms, row, text });
        }
    }

    /// Names this very course of events.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How much happened.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The events of some rows, and those of no row; empty unless they were kept.
    pub fn story(&self, rows: &[usize]) -> impl Iterator<Item = &Event> {
        let kept = self.kept.iter().flatten();
        kept.filter(move |e| {
            e.row
                .is_none_or(|row| rows.is_empty() || rows.contains(&row))
        })
    }
}
