//! What the page shows, from the stand-ins' own records: bounded, and read on from where it was.
//!
//! Rows are named by table and id, never by what is in them. With several targets it follows the first.

use std::collections::{HashMap, HashSet, VecDeque};

use local_stack::bus::QueueCounts;
use local_stack::dataverse::{AckWrite, Change, Operation};
use local_stack::stack::{INBOUND, Stack};
use local_stack::target::Call;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::super::lanes::Lane;
use super::dataverse::Requests;
use super::lags::{BUCKET_SECONDS, Lags, ms};
use super::letters::Letter;
use super::parts::{counts, fleet_part, is_down, queue_part, target_state};

/// Changes followed at a time; older ones are forgotten, whatever became of them.
const JOURNEYS: usize = 2000;
/// Of these, how many are shown.
const SHOWN: usize = 60;
/// Failed calls remembered; more would only be counted.
const FAILED: usize = 20_000;
/// A failed call counts as recent for so long.
pub(super) const RECENT: Duration = Duration::seconds(10);
/// What the state column says of a change that was given up (`AckColumns::state`).
const REJECTED: i64 = 3;

/// One change on its way.
struct Journey {
    change: Change,
    delivered: Option<OffsetDateTime>,
    acknowledged: Option<OffsetDateTime>,
    failures: u32,
    last_status: Option<u16>,
    refused: bool,
}

/// The memory behind the page.
#[derive(Default)]
pub(super) struct Board {
    changes_seen: usize,
    acks_seen: usize,
    calls_seen: usize,
    /// Number of the first journey that is remembered.
    first: usize,
    journeys: VecDeque<Journey>,
    /// Journeys by row.
    rows: HashMap<Uuid, Vec<usize>>,
    delivered: Lags,
    acknowledged: Lags,
    last_call: Option<Option<u16>>,
    failed: VecDeque<OffsetDateTime>,
    dataverse: Requests,
}

impl Board {
    /// Reads on.
    pub(super) fn follow(&mut self, stack: &Stack, lane: &Lane<'_>) {
        // What came last on the way is read first: what belongs to it is then known by the next look.
        let acks = stack.dataverse.ack_writes_after(self.acks_seen);
        let calls = lane.target.calls_after(self.calls_seen);
        let changes = stack.dataverse.changes_after(self.changes_seen);
        self.changes_seen += changes.len();
        self.calls_seen += calls.len();
        self.acks_seen += acks.len();
        let (counters, faults) = (stack.dataverse.counters(), stack.dataverse.faults());
        self.dataverse
            .follow(&counters, &faults, OffsetDateTime::now_utc());
        for change in changes.into_iter().filter(|c| c.notification_id.is_some()) {
            self.saved(change);
        }
        for call in &calls {
            self.called(call);
        }
        for ack in &acks {
            let Some(table) = lane.config.tables.get(ack.table) else {
                continue;
            };
            let state = ack.columns.get(&table.ack.state).and_then(Value::as_i64);
            if state != Some(REJECTED) {
                self.acknowledged(ack, &table.ack.version, &table.ack.correlation_id);
            }
        }
    }

    fn saved(&mut self, change: Change) {
        let number = self.first + self.journeys.len();
        self.rows.entry(change.row_id).or_default().push(number);
        self.journeys.push_back(Journey {
            change,
            delivered: None,
            acknowledged: None,
            failures: 0,
            last_status: None,
            refused: false,
        });
        if self.journeys.len() > JOURNEYS
            && let Some(old) = self.journeys.pop_front()
        {
            self.first += 1;
            let first = self.first;
            if let Some(numbers) = self.rows.get_mut(&old.change.row_id) {
                numbers.retain(|number| *number >= first);
                if numbers.is_empty() {
                    self.rows.remove(&old.change.row_id);
                }
            }
        }
    }

    fn called(&mut self, call: &Call) {
        if !matches!(call.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE") {
            return;
        }
        let down = is_down(call.status);
        self.last_call = Some(call.status);
        if down {
            self.failed.push_back(call.at);
            if self.failed.len() > FAILED {
                self.failed.pop_front();
            }
        }
        let version = call.source_version.as_deref();
        let version: Option<i64> = version.and_then(|version| version.parse().ok());
        let Ok(row) = call.external_id.parse() else {
            return;
        };
        for number in self.rows.get(&row).into_iter().flatten() {
            let Some(journey) = self.journeys.get_mut(number - self.first) else {
                continue;
            };
            let id = journey.change.correlation_id.to_string();
            let own = call.correlation_id.as_deref() == Some(&id);
            let covers = own || version.is_some_and(|version| version >= journey.change.version);
            if journey.delivered.is_some() || !covers || call.at < journey.change.at {
                continue;
            }
            if call.status.is_some_and(|status| status < 300) {
                journey.delivered = Some(call.at);
                self.delivered.keep(call.at, journey.change.at);
            } else {
                journey.failures += 1;
                journey.last_status = call.status;
                journey.refused = !down;
            }
        }
    }

    fn acknowledged(&mut self, ack: &AckWrite, version: &str, correlation_id: &str) {
        let text = |name: &str| ack.columns.get(name).and_then(Value::as_str);
        let version: Option<i64> = text(version).and_then(|version| version.parse().ok());
        let id: Option<Uuid> = text(correlation_id).and_then(|id| id.parse().ok());
        for number in self.rows.get(&ack.row_id).into_iter().flatten() {
            let Some(journey) = self.journeys.get_mut(number - self.first) else {
                continue;
            };
            let own = id == Some(journey.change.correlation_id);
            let covers = own || version.is_some_and(|version| version >= journey.change.version);
            if covers && journey.acknowledged.is_none() && ack.at >= journey.change.at {
                journey.acknowledged = Some(ack.at);
                self.acknowledged.keep(ack.at, journey.change.at);
            }
        }
    }

    /// All that the page shows of changes and stand-ins.
    pub(super) fn snapshot(&self, stack: &Stack, letters: &[Letter], now: OffsetDateTime) -> Value {
        let recent = self
            .failed
            .iter()
            .rev()
            .take_while(|at| now - **at < RECENT);
        let target = target_state(self.last_call, recent.count());
        let outbound = stack.outbound_entities().map(|name| counts(stack, name));
        let outbound = outbound.fold(QueueCounts::default(), |a, b| QueueCounts {
            active: a.active + b.active,
            locked: a.locked + b.locked,
            scheduled: a.scheduled + b.scheduled,
            deferred: a.deferred + b.deferred,
            dead_letter: a.dead_letter + b.dead_letter,
        });
        let totals = stack.dataverse.counters();
        let called = stack.target.counters();
        let journeys = self.journeys.iter().rev().take(SHOWN);
        let given_up = letters.iter().filter(|letter| letter.queue != INBOUND);
        let given_up: HashSet<_> = given_up.filter_map(Letter::correlation_id).collect();
        let dataverse = self.dataverse.state(now);
        json!({
            "now": ms(now),
            "parts": [
                {"id": "dataverse", "name": "Dataverse", "state": dataverse.0, "word": dataverse.1,
                    "counts": {"saved": totals.events, "in outbox": stack.dataverse.outbox_len()}},
                queue_part("outbound", "outbound queue", outbound),
                fleet_part("outbound-fn", &stack.outbound),
                {"id": "target", "name": "target", "state": target.0, "word": target.1,
                    "counts": {"calls": called.calls, "delivered": called.applied, "failed": called.faulted}},
                queue_part("inbound", "inbound queue", counts(stack, INBOUND)),
                fleet_part("inbound-fn", &stack.inbound),
                {"id": "rows", "name": "Dataverse rows", "state": "green", "word": "up",
                    "counts": {"acknowledged": self.acks_seen}},
            ],
            "lag": {
                "bucketSeconds": BUCKET_SECONDS,
                "delivered": self.delivered.percentiles(now),
                "acknowledged": self.acknowledged.percentiles(now),
            },
            "changes": journeys.map(|journey| journey.json(&given_up)).collect::<Vec<_>>(),
        })
    }
}

impl Journey {
    fn json(&self, given_up: &HashSet<Uuid>) -> Value {
        let deleted = self.change.operation == Operation::Delete;
        let dead = given_up.contains(&self.change.correlation_id);
        let outcome = match (self.acknowledged, self.delivered) {
            (Some(_), _) => "acknowledged",
            (None, Some(_)) if deleted => "deleted",
            (None, Some(_)) => "delivered",
            (None, None) if dead && self.refused => "refused",
            (None, None) if dead => "dead-lettered",
            (None, None) if self.failures > 0 && !self.refused => "retrying",
            (None, None) => "on its way",
        };
        json!({
            "row": format!("{}:{}", self.change.table, self.change.row_id),
            "operation": self.change.operation.as_str(),
            "version": self.change.version,
            "correlationId": self.change.correlation_id,
            "saved": ms(self.change.at),
            "delivered": self.delivered.map(ms),
            "acknowledged": self.acknowledged.map(ms),
            "failures": self.failures,
            "lastStatus": self.last_status,
            "outcome": outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_given_up_is_on_its_way_again_once_its_letter_is_resent() {
        let id = Uuid::from_u128(7);
        let mut journey = Journey {
            change: Change {
                notification_id: None,
                correlation_id: id,
                table: "account",
                row_id: Uuid::nil(),
                version: 1,
                operation: Operation::Update,
                at: OffsetDateTime::UNIX_EPOCH,
            },
            delivered: None,
            acknowledged: None,
            failures: 1,
            last_status: Some(422),
            refused: true,
        };
        let outcome = |journey: &Journey, letters: &[Uuid]| {
            let letters = letters.iter().copied().collect();
            journey.json(&letters)["outcome"]
                .as_str()
                .map(str::to_owned)
        };
        assert_eq!(outcome(&journey, &[id]).as_deref(), Some("refused"));
        assert_eq!(outcome(&journey, &[]).as_deref(), Some("on its way"));
        journey.refused = false;
        assert_eq!(outcome(&journey, &[id]).as_deref(), Some("dead-lettered"));
        assert_eq!(outcome(&journey, &[]).as_deref(), Some("retrying"));
        journey.delivered = Some(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(outcome(&journey, &[id]).as_deref(), Some("delivered"));
    }
}
