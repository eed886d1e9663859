//! One flight: passes of fetch, map, deliver and look again, until the target holds the latest state
//! for everybody who joined; then one acknowledgement; then everybody's answer.

use std::sync::Arc;
use std::time::Duration;

use service_bus::ErrorClass;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument as _, Span, info_span};

use super::{Notice, OutboundParts, Served, blank, envelope};
use crate::acknowledgement::Outcome;
use crate::config::{DeletePolicy, TableConfig};
use crate::dataverse::Columns;
use crate::failure::{Class, Failure, Stage};
use crate::flight::{self, Landed};
use crate::mapping::{self, Payload};
use crate::metrics::{About, metrics};
use crate::patience::{Patience, try_patiently};
use crate::ports::{Change, Delivery, Receipt, jitter_ms};
use crate::snapshot::{Latest, RowKey, RowVersion};
use crate::trace;

type Answer = Result<Served, Failure>;
type Flight = flight::Flight<RowKey, Notice, Answer>;

/// A row that never stops changing must not hold its messages for ever: after this many passes they
/// are rescheduled, which costs nothing, since the target holds a recent state by then.
const MOST_PASSES: u32 = 8;

/// Expressions take microseconds. Whatever takes this long does not end in time for anybody.
const LONGEST_MAPPING: Duration = Duration::from_secs(20);

const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

/// Flies a row and answers everybody who joined.
pub(super) async fn fly(parts: OutboundParts, table: Arc<TableConfig>, flight: Flight) {
    let span = info_span!(target: trace::TARGET, "flight", otel.kind = "internal");
    passes(parts, table, flight).instrument(span).await;
}

async fn passes(parts: OutboundParts, table: Arc<TableConfig>, mut flight: Flight) {
    let until = Instant::now() + parts.deadline;
    let mut course = Course {
        parts,
        table,
        delivered: None,
        deliveries: 0,
        served: 0,
    };
    for _ in 0..MOST_PASSES {
        let (covered, notices) = flight.cover();
        let lingering = course.parts.config.target.longest_call();
        let passed = bounded(until, course.pass(&notices)).await;
        // The deadline may have cut a delivery off.
        let passed = passed.map_err(|f| match f.code {
            DEADLINE_EXCEEDED => f.lingering(lingering),
            _ => f,
        });
        let landed = match passed {
            // What is wrong for good is wrong with the row as it was read: whoever joined since may
            // announce its correction.
            Err(failure) if failure.class == Class::Permanent => match flight.finish(covered) {
                Ok(landed) => return landed.answer(|_| Err(failure.clone())),
                Err(again) => {
                    flight = again;
                    continue;
                }
            },
            Err(failure) => return flight.abort().answer(|_| Err(failure.clone())),
            Ok(Step::Superseded) => flight.finish(covered),
            Ok(Step::Delivered) => match course.look(flight, until).await {
                Ok(landed) => landed,
                Err((landed, failure)) => return landed.answer(|_| Err(failure.clone())),
            },
        };
        match landed {
            Ok(landed) => return course.answer(landed).await,
            Err(again) => flight = again,
        }
    }
    let text = format!("The row changed during each of {MOST_PASSES} passes.");
    let failure = Failure::throttled(Stage::Fetch, "RowKeepsChanging", Duration::ZERO, text);
    flight.abort().answer(|_| Err(failure.clone()));
}

/// Work that gives up at the flight's deadline.
async fn bounded<T>(
    until: Instant,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout_at(until, work).await.unwrap_or_else(|_| {
        let text = "Dataverse and the target together took longer than one flight may.";
        Err(Failure::transient(Stage::Deliver, DEADLINE_EXCEEDED, text))
    })
}

/// Maps a row; if expressions take part, then on a thread of its own, since nothing can stop one.
async fn mapped(table: &Arc<TableConfig>, columns: Columns) -> Result<Payload, Failure> {
    let span = info_span!(target: trace::TARGET, "map", otel.kind = "internal");
    let mapped = computed(table, columns).instrument(span.clone()).await;
    trace::ended(&span, mapped.as_ref().map(|_| ()).map_err(|f| f.code));
    mapped
}

async fn computed(table: &Arc<TableConfig>, columns: Columns) -> Result<Payload, Failure> {
    if !table.computes() {
        return mapping::map(table, &columns);
    }
    let name = table.name.clone();
    let table = Arc::clone(table);
    let work = spawn_blocking(move || mapping::map(&table, &columns));
    match timeout(LONGEST_MAPPING, work).await {
        Ok(Ok(mapped)) => mapped,
        ended => {
            let how = if ended.is_ok() { "died" } else { "did not end" };
            let text = format!(
                "The expressions of tables.{name}.fields {how} for this {name}. Simplify them, then resend the message."
            );
            Err(Failure::permanent(Stage::Map, "ExpressionFailed", text))
        }
    }
}

/// How a pass ended well.
enum Step {
    /// Everybody's version was acknowledged before: nothing was delivered.
    Superseded,
    /// The target has been sent what was fetched; see [`Course::delivered`].
    Delivered,
}

/// What the target holds now, by this very flight.
#[derive(Debug, Clone)]
struct Delivered {
    outcome: Outcome,
    version: Option<RowVersion>,
    hash: Option<String>,
    receipt: Receipt,
}

struct Course {
    parts: OutboundParts,
    table: Arc<TableConfig>,
    delivered: Option<Delivered>,
    deliveries: u32,
    /// How many notices the latest pass covered.
    served: usize,
}

impl Course {
    /// Fetch, map, deliver.
    async fn pass(&mut self, notices: &[Notice]) -> Result<Step, Failure> {
        let Some(newest) = newest(notices) else {
            return Ok(Step::Superseded);
        };
        self.served = notices.len();
        let (row, correlation) = (
            newest.notification.row(),
            &newest.notification.correlation_id,
        );
        let latest = self
            .retrying(|c| c.parts.source.latest(&c.table, row.id, correlation))
            .await?;
        if self.delivered.is_none() && superseded(notices, &latest) {
            return Ok(Step::Superseded);
        }
        let (version, outcome, change, hash) = match latest {
            Latest::Row(snapshot) => {
                // A row that the target must hold first may only be late because the target is down.
                // Then this message waits for the target, which does not age it.
                if let Err(unmet) = mapping::required(&self.table, &snapshot.columns) {
                    self.parts.target.available()?;
                    return Err(unmet);
                }
                let payload = mapped(&self.table, snapshot.columns).await?;
                let hash = payload.hash.clone();
                (
                    Some(snapshot.version),
                    Outcome::Delivered,
                    Change::Upsert(payload),
                    Some(hash),
                )
            }
            Latest::Gone => {
                let change = Change::Delete(self.table.on_delete.clone());
                (self.last_known(notices), Outcome::Deleted, change, None)
            }
        };
        let delivery = Delivery {
            row,
            version,
            correlation_id: correlation.clone(),
            attempt: newest
                .message
                .derived_id(&format!("delivery/{}", self.deliveries)),
            change,
        };
        let receipt = if delivery.change == Change::Delete(DeletePolicy::Ignore) {
            Receipt::default()
        } else {
            self.deliveries += 1;
            self.retrying(|c| c.parts.target.deliver(&c.table, &delivery))
                .await?
        };
        self.delivered = Some(Delivered {
            outcome,
            version,
            hash,
            receipt,
        });
        Ok(Step::Delivered)
    }

    /// The version a deleted row had last, which Dataverse can no longer tell: the newest that was
    /// announced or that this flight delivered. `None` as soon as one notice came without a version: it
    /// may stand for a newer one, and a target that compares would refuse the delete as outdated.
    fn last_known(&self, notices: &[Notice]) -> Option<RowVersion> {
        let announced: Option<Vec<_>> =
            notices.iter().map(|n| n.notification.row_version).collect();
        let delivered = self.delivered.as_ref().and_then(|d| d.version);
        announced?.into_iter().max().max(delivered)
    }

    /// Looks again after delivering, as often as somebody joined meanwhile. The last deliverer of a row
    /// always looks after its own delivery, so whoever overwrote something newer sees it and repairs it.
    ///
    /// Gives the flight back when it needs another pass:
    ///
    /// - The row's version moved. Also when the payload comes out the same: the row may have gone from A
    ///   to B and back to A, with another instance's delivery of B in between. (An acknowledgement moves
    ///   the version too; but each flight sends one, so that flights cannot keep each other going.)
    /// - Somebody joined who owes a delivery: an earlier attempt of theirs may have overwritten what this
    ///   flight delivered, which no look at the source can show.
    /// - Somebody joined a delete: a row that came back meanwhile and was deleted again looks the same.
    async fn look(
        &self,
        mut flight: Flight,
        until: Instant,
    ) -> Result<Result<Landed<Notice, Answer>, Flight>, (Landed<Notice, Answer>, Failure)> {
        loop {
            let (covered, notices) = flight.cover();
            let (Some(held), Some(newest)) = (&self.delivered, newest(&notices)) else {
                return Ok(Err(flight));
            };
            let (row, correlation) = (
                newest.notification.source_row_id,
                &newest.notification.correlation_id,
            );
            let looking = self.retrying(|c| c.parts.source.version(&c.table, row, correlation));
            let now = match bounded(until, looking).await {
                Ok(now) => now,
                Err(failure) if failure.class == Class::Permanent => {
                    return match flight.finish(covered) {
                        Ok(landed) => Err((landed, failure)),
                        Err(again) => Ok(Err(again)),
                    };
                }
                Err(failure) => return Err((flight.abort(), failure)),
            };
            let same = match held.outcome {
                Outcome::Deleted => now.is_none(),
                _ => now == held.version,
            };
            let mut joined = notices.iter().skip(self.served);
            let owed = match held.outcome {
                Outcome::Deleted => joined.next().is_some(),
                _ => joined.any(|n| n.owes_delivery),
            };
            if !same || owed {
                return Ok(Err(flight));
            }
            match flight.finish(covered) {
                Ok(landed) => return Ok(Ok(landed)),
                Err(joined) => flight = joined,
            }
        }
    }

    /// Sends the one acknowledgement, then answers everybody: a message is settled only after what it
    /// led to is durable.
    async fn answer(self, landed: Landed<Notice, Answer>) {
        let notices: Vec<_> = landed.notices().cloned().collect();
        let Some(newest) = newest(&notices) else {
            return;
        };
        let held = self.delivered.as_ref();
        let served = Served {
            outcome: held.map_or("superseded", |d| d.outcome.as_str()),
            version: held.map_or(newest.notification.row_version, |d| d.version),
            acknowledged_by: newest.notification.notification_id.clone(),
            notifications: notices.len(),
            deliveries: self.deliveries,
            flight: trace::link(&Span::current()),
        };
        let about = About {
            table: &self.table.name,
            target: &self.parts.config.target_system,
        };
        let coalesced = held.map_or(0, |_| notices.len() - 1);
        metrics().delivered(about, self.deliveries, coalesced);
        // The first one is what the flight's span is in already.
        for notice in notices.iter().skip(1) {
            trace::connect(&Span::current(), notice.link.as_ref());
        }
        let sent = match held {
            None => Ok(()),
            Some(held) => self.acknowledge(newest, held.clone()).await,
        };
        landed.answer(|_| sent.clone().map(|()| served.clone()));
    }

    async fn acknowledge(&self, newest: &Notice, done: Delivered) -> Result<(), Failure> {
        let mut acknowledgement = blank(
            &self.parts,
            &newest.notification,
            done.outcome,
            done.version,
        );
        acknowledgement.target_row_id = done.receipt.target_row_id;
        acknowledgement.payload_hash = done.hash;
        let message = envelope(
            &newest.message,
            &acknowledgement,
            newest.notification.occurred_at,
        );
        let sent = self.parts.inbound.send(message).await;
        sent.map_err(|e| not_queued(&e))
    }

    /// Absorbs a blip in process.
    async fn retrying<'a, T, F>(&'a self, mut call: impl FnMut(&'a Self) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let retries = self.table.policy.in_process_retries();
        let patience = Patience {
            retries,
            longest_wait: Duration::ZERO,
        };
        try_patiently(patience, || jitter_ms(&self.parts.rng), || call(self)).await
    }
}

/// Why an acknowledgement could not be queued, and whether somebody has to repair the app for it.
fn not_queued(error: &service_bus::Error) -> Failure {
    let text = format!("Delivered, but the acknowledgement could not be queued: {error}.");
    let class = match error.class() {
        ErrorClass::NotFound | ErrorClass::Unauthorized => {
            let text = format!(
                "{text} Check INBOUND_QUEUE, and that the app's identity may send to that queue."
            );
            return Failure::config(Stage::Acknowledge, "InboundQueueRefused", text);
        }
        ErrorClass::Throttled => Class::Throttled {
            retry_after: Duration::from_secs(10),
        },
        _ => Class::Transient,
    };
    Failure::new(class, Stage::Acknowledge, "InboundQueueUnavailable", text)
}

/// The notice whose ids stand for all: the one that announces the newest version.
fn newest(notices: &[Notice]) -> Option<&Notice> {
    notices.iter().max_by_key(|n| n.notification.row_version)
}

/// Whether every notice announces only what was acknowledged before. Versions decide, never payload
/// hashes: a row that goes A, B, A while the acknowledgement of B is still on its way carries the
/// acknowledged hash of A, and a target that holds B.
fn superseded(notices: &[Notice], latest: &Latest) -> bool {
    let Latest::Row(snapshot) = latest else {
        return false;
    };
    snapshot.acknowledged.is_some_and(|acknowledged| {
        notices.iter().all(|n| {
            n.only_announces
                .is_some_and(|version| version <= acknowledged)
        })
    })
}
