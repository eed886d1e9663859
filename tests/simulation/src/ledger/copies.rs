//! Checks at each send: what a retry copy carries and how long it waits.

use std::time::Duration;

use service_bus::{OutgoingMessage, Value};
use sync_core::failure::{Class, Failure};
use sync_core::message::{FIRST_ENQUEUED_AT, LAST_FAILURE, ORIGINAL_MESSAGE_ID, RETRY_COUNT};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::dataverse::MARKER;
use crate::life::Life;
use crate::world::{State, Which};

/// The patience of [`crate::run`]'s `sync.json`, written down a second time on purpose.
const BASE: f64 = 5.0;
const FACTOR: f64 = 2.0;
const CAP: f64 = 120.0;
const JITTER: f64 = 0.2;
pub(super) const MAX_RETRIES: i64 = 8;
const CONFIG_DELAY: f64 = 60.0;
/// A call to the target without an answer may still take effect for this long.
const LINGERS: Duration = Duration::from_secs(10);
/// How long a busy queue is left alone.
const QUEUE_BUSY: Duration = Duration::from_secs(10);
/// No Retry-After is obeyed for longer.
const LONGEST_OBEYED: f64 = 3600.0;

/// What a copy claims.
struct Copy {
    row: Option<usize>,
    about: Option<usize>,
    original: String,
    stage_and_code: String,
    retry_count: i64,
    delay: f64,
}

impl State {
    /// A message leaves for a queue.
    pub(crate) fn check_sent(&mut self, which: Which, life: &Life, message: &OutgoingMessage) {
        let text = |name: &str| message.properties.get(name).and_then(Value::as_str);
        let texts = message.properties.values().filter_map(Value::as_str);
        let leaks = texts.clone().any(|text| text.contains(MARKER))
            || (which == Which::Inbound && contains(&message.body, MARKER));
        if leaks {
            self.violation("I9", None, format!("{} sends a row value", life.name));
        }
        let (Some(failure), Some(original)) = (text(LAST_FAILURE), text(ORIGINAL_MESSAGE_ID))
        else {
            return;
        };
        let now = self.now();
        let about = match which {
            Which::Outbound => self.truth.find(original),
            Which::Inbound => self.watch.find_ack(original),
        };
        let at = message.scheduled_enqueue_time.unwrap_or(now);
        let copy = Copy {
            row: self.row_of(which, about),
            about,
            original: original.to_owned(),
            stage_and_code: failure.to_owned(),
            retry_count: message
                .properties
                .get(RETRY_COUNT)
                .and_then(Value::as_i64)
                .unwrap_or(-1),
            delay: (at - now).as_seconds_f64(),
        };
        let first = text(FIRST_ENQUEUED_AT).and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok());
        self.check_identity(which, life, &copy, message, first);
        self.check_patience(which, life, &copy);
    }

    /// A copy is the same message: same body, same beginning.
    fn check_identity(
        &mut self,
        which: Which,
        life: &Life,
        copy: &Copy,
        message: &OutgoingMessage,
        first: Option<OffsetDateTime>,
    ) {
        if let (Which::Outbound, Some(about)) = (which, copy.about)
            && message.body != self.truth.changes[about].body.as_bytes()
        {
            self.violation("I1", copy.row, "a copy has another body".into());
        }
        // The age of a message leaves out the waits that do not count.
        let waited = [0.0, copy.delay];
        let same_chain = self
            .watch
            .hands(life, which, &copy.original)
            .filter_map(|hand| Some((first? - hand.first).as_seconds_f64()))
            .any(|moved| waited.iter().any(|wait| (moved - wait).abs() < 0.001));
        if !same_chain {
            let text = format!("a copy says its chain began at {first:?}");
            self.violation("I6", copy.row, text);
        }
        if !(0..=MAX_RETRIES).contains(&copy.retry_count) {
            self.violation(
                "I6",
                copy.row,
                format!("a copy has RetryCount {}", copy.retry_count),
            );
        }
    }

    /// A copy counts what has to be counted, and waits as long as it has to.
    fn check_patience(&mut self, which: Which, life: &Life, copy: &Copy) {
        let now = self.now();
        let mine = self.watch.hands(life, which, &copy.original);
        let counts: Vec<i64> = mine.map(|h| h.retry_count).collect();
        let failures = self.watch.failures.get(&(life.number, copy.row));
        let fitting = |f: &Failure| format!("{}/{}", f.stage, f.code) == copy.stage_and_code;
        let mut classes: Vec<(Class, Duration)> = failures
            .into_iter()
            .flatten()
            .filter(|(at, failure)| *at == now && fitting(failure))
            .map(|(_, failure)| (failure.class, failure.lingers.unwrap_or_default()))
            .collect();
        if copy.stage_and_code.ends_with("/BreakerOpen") {
            // Refused by the instance's own breaker, which says for how long.
            let retry_after = Duration::from_secs_f64((copy.delay / (1.0 + JITTER)).max(BASE));
            classes = vec![(Class::TargetDown { retry_after }, Duration::ZERO)];
        }
        if copy.stage_and_code.ends_with("/FlightLost") {
            let text = format!("a flight of {} ended without an answer", life.name);
            self.violation("I1", copy.row, text);
        }
        if classes.is_empty() {
            // Not something that was answered: what a pass itself concluded.
            let retry_after = Duration::ZERO;
            classes.push((Class::Transient, retry_after));
            classes.push((Class::Transient, LINGERS));
            for retry_after in [retry_after, QUEUE_BUSY] {
                classes.push((Class::Throttled { retry_after }, Duration::ZERO));
            }
        }
        let fits = classes
            .iter()
            .any(|class| counts.iter().any(|count| patient(*class, *count, copy)));
        if !fits {
            let permanent = classes.iter().any(|(class, _)| *class == Class::Permanent);
            let text = format!(
                "{} retries {} as RetryCount {} after {:.3}s; it had RetryCount {counts:?} and met {classes:?}",
                life.name, copy.stage_and_code, copy.retry_count, copy.delay
            );
            self.violation(if permanent { "I5" } else { "I6" }, copy.row, text);
        }
    }
}

/// Whether a copy of a message with `count` retries is as it should be after a failure of `class`.
fn patient((class, lingers): (Class, Duration), count: i64, copy: &Copy) -> bool {
    let backoff = (BASE * FACTOR.powi(i32::try_from(count).unwrap_or(i32::MAX))).min(CAP);
    let (least, counts) = match class {
        Class::Transient => (backoff, true),
        Class::Throttled { retry_after } | Class::TargetDown { retry_after } => {
            (retry_after.as_secs_f64().clamp(BASE, LONGEST_OBEYED), false)
        }
        Class::Config => (CONFIG_DELAY, false),
        // Nothing requires another row here.
        Class::Waiting | Class::Permanent => return false,
    };
    let lingers = lingers.as_secs_f64();
    let (least, most) = (
        least.max(lingers),
        (least * (1.0 + JITTER)).max(lingers) + 0.001,
    );
    let waits = copy.delay >= least - 0.000_001 && copy.delay <= most;
    waits && copy.retry_count == count + i64::from(counts)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
