//! The account of every message of a chaos run, after Jepsen's total-queue checker.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use service_bus::ReceivedMessage;
use time::OffsetDateTime;

use crate::bench::goal;
use crate::out;

/// One copy of a message in one queue: its queue, its id, and the number it was first enqueued under.
type Copy = (String, String, i64);

/// What was done, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Whether the broker confirmed it, by queue and id.
    sent: BTreeMap<(String, String), bool>,
    /// Copies that were received, here or in the dead-letter queue.
    received: BTreeSet<Copy>,
    /// When a completion or dead-lettering was confirmed.
    settled: HashMap<Copy, OffsetDateTime>,
    /// Locked by a receiver after their end had been confirmed.
    risen: usize,
    calls: usize,
    failed_calls: usize,
    /// Calls that were still not over some time after their deadline.
    hung: Vec<String>,
    slowest: Duration,
    redelivered: usize,
}

/// The result of a chaos run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) attempted: usize,
    pub(super) confirmed: usize,
    /// Confirmed, and never seen again.
    pub(super) lost: usize,
    /// Received, though never sent.
    pub(super) unexpected: usize,
    /// Copies beyond the first, where the queue drops duplicates and where it does not.
    pub(super) duplicated_despite_detection: usize,
    pub(super) duplicated: usize,
    /// Sends that failed as far as the caller knows, and arrived.
    pub(super) recovered: usize,
    pub(super) risen: usize,
    /// Messages still in a queue after everything was settled.
    pub(super) left: usize,
    pub(super) calls: usize,
    pub(super) failed_calls: usize,
    pub(super) redelivered: usize,
    pub(super) hung: Vec<String>,
    pub(super) slowest: Duration,
    /// What was done to the broker, by name.
    pub(super) faults: BTreeMap<&'static str, usize>,
}

impl Ledger {
    pub(super) fn sent(&self, queue: &str, ids: &[String], confirmed: bool) {
        let mut book = self.book();
        for id in ids {
            book.sent.insert((queue.to_owned(), id.clone()), confirmed);
        }
    }

    /// A message arrived that was locked at this time.
    pub(super) fn received(
        &self,
        queue: &str,
        message: &ReceivedMessage,
        locked_at: Option<OffsetDateTime>,
    ) {
        let mut book = self.book();
        let copy = copy(queue, message);
        let ended = book.settled.get(&copy);
        if let (Some(ended), Some(locked)) = (ended, locked_at)
            && *ended < locked
        {
            book.risen += 1;
        }
        if !book.received.insert(copy) {
            book.redelivered += 1;
        }
    }

    /// The broker confirmed that a message is out of the queue.
    pub(super) fn settled(&self, queue: &str, message: &ReceivedMessage) {
        let now = OffsetDateTime::now_utc();
        self.book().settled.insert(copy(queue, message), now);
    }

    /// A call returned, or did not in time.
    pub(super) fn called(&self, what: &str, took: Duration, failed: bool, hung: bool) {
        let mut book = self.book();
        book.calls += 1;
        book.failed_calls += usize::from(failed);
        book.slowest = book.slowest.max(took);
        if hung {
            book.hung.push(format!("{what} after {took:?}"));
        }
    }

    /// The end of the account. `detecting` is the queue that drops duplicates.
    pub(super) fn close(&self, detecting: &str, left: usize) -> Report {
        let book = self.book();
        let mut copies: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (queue, id, _) in &book.received {
            *copies.entry((queue.clone(), id.clone())).or_default() += 1;
        }
        let duplicated = |wanted: bool| -> usize {
            let of_kind = copies
                .iter()
                .filter(|((queue, _), _)| (queue == detecting) == wanted);
            of_kind.map(|(_, count)| count - 1).sum()
        };
        let arrived = |confirmed: bool| {
            let sent = book.sent.iter().filter(move |(_, it)| **it == confirmed);
            sent.filter(|(key, _)| copies.contains_key(*key)).count()
        };
        let confirmed = book.sent.values().filter(|it| **it).count();
        Report {
            attempted: book.sent.len(),
            confirmed,
            lost: confirmed - arrived(true),
            unexpected: copies
                .keys()
                .filter(|key| !book.sent.contains_key(*key))
                .count(),
            duplicated_despite_detection: duplicated(true),
            duplicated: duplicated(false),
            recovered: arrived(false),
            risen: book.risen,
            left,
            calls: book.calls,
            failed_calls: book.failed_calls,
            redelivered: book.redelivered,
            hung: book.hung.clone(),
            slowest: book.slowest,
            faults: BTreeMap::new(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// Whether nothing happened that must not.
    pub(super) fn is_good(&self) -> bool {
        self.lost == 0
            && self.unexpected == 0
            && self.duplicated_despite_detection == 0
            && self.risen == 0
            && self.left == 0
            && self.hung.is_empty()
            && self.confirmed > 0
    }

    pub(super) fn print(&self) {
        let Report {
            attempted,
            confirmed,
            calls,
            failed_calls,
            ..
        } = self;
        out::line(format_args!(
            "{attempted} messages sent, {confirmed} confirmed; {calls} calls, {failed_calls} failed, \
             the slowest took {:.1} s; faults: {:?}",
            self.slowest.as_secs_f64(),
            self.faults
        ));
        out::line(format_args!(
            "lost {}  unexpected {}  duplicated {} (with duplicate detection {})  recovered {}  redelivered {}",
            self.lost,
            self.unexpected,
            self.duplicated,
            self.duplicated_despite_detection,
            self.recovered,
            self.redelivered
        ));
        goal("every confirmed message arrived", self.lost == 0);
        goal(
            "nothing arrived that was not sent, or twice where duplicates are detected",
            self.unexpected == 0 && self.duplicated_despite_detection == 0,
        );
        goal(
            "nothing came back after it was settled, and nothing is left",
            self.risen == 0 && self.left == 0,
        );
        goal("no call outlived its deadline", self.hung.is_empty());
        for hung in &self.hung {
            out::line(format_args!("  hung: {hung}"));
        }
    }
}

fn copy(queue: &str, message: &ReceivedMessage) -> Copy {
    let id = message.message_id.clone().unwrap_or_default();
    (queue.to_owned(), id, message.enqueued_sequence_number)
}
