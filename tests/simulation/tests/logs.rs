//! What the shipped code logs. Alone in its process: whether a log line is of interest is remembered for
//! the whole process, and tests that log to nowhere beside it could make it forget these lines.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex};

use simulation::plan::Plan;
use simulation::run::run;

/// Log lines of the shipped code, as an operator's workspace would receive them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_row_value_reaches_a_log_line() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        for seed in 1..=10 {
            run(&Plan::of_seed(seed, 40), false).unwrap();
        }
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("rescheduled") && text.contains("dead-lettered"),
        "nothing was logged"
    );
    let leak = text.lines().find(|line| line.contains("SECRET-"));
    assert_eq!(leak, None);
}
