//! The ledger: did anything get lost, does anything differ?
//!
//! Counted from the stand-ins' own records: what Dataverse committed, what the broker holds, what the
//! target holds. Nothing the function apps claim is believed; how their identities fare, which nobody
//! else can know, stands beside it and decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use local_stack::bus::MessageView;
use local_stack::dataverse::{Change, Operation};
use local_stack::stack::{REJECTED, Stack, WITNESS};
use serde::Serialize;
use serde_json::{Map, Value};
use sync_core::config::SyncConfig;
use sync_core::mapping;
use sync_core::message::ORIGINAL_MESSAGE_ID;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::governor::IdentityReport;

/// What became of everything.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// Changes of rows that users committed.
    pub(crate) changes: usize,
    /// Notifications that these caused.
    pub(crate) notifications: usize,
    /// Calls that changed the target.
    pub(crate) deliveries: u64,
    /// Acknowledgements written to rows.
    pub(crate) acknowledgements: usize,
    /// Scheduled copies that the broker took, on both queues.
    pub(crate) retries: u64,
    /// Messages in the dead-letter queues, and in the queue of rejected ones.
    pub(crate) dead_lettered: usize,
    /// Notifications still in the outbox or on a queue.
    pub(crate) pending: usize,
    /// Notifications neither acknowledged at their version or a newer one, nor dead-lettered, nor
    /// pending.
    pub(crate) lost: usize,
    /// With sessions: calls of the target that carried an older version of a row than a call sent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_order: Option<usize>,
    /// Rows whose state in the target is not the mapping of the Dataverse row.
    pub(crate) differing: usize,
    /// With a topic: new notifications that reached the subscription of another target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) witnessed: Option<usize>,
    /// With a topic: retry copies that reached a subscription they did not come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stray_copies: Option<usize>,
    /// Requests of the function apps to Dataverse.
    pub(crate) dataverse_requests: u64,
    /// The same, per distinct row that changed.
    pub(crate) dataverse_requests_per_row: f64,
    /// Rows of a merged request to Dataverse on average, as the apps told.
    pub(crate) mean_page_rows: Option<f64>,
    /// How each identity of each app fared, as the apps told last.
    pub(crate) identities: Vec<IdentityReport>,
    /// Messages delivered again because a handler died or a lock ended.
    pub(crate) redeliveries: u64,
    /// Posts that the plug-in could not make, left to the sweep.
    pub(crate) swept: u64,
    /// Handler processes killed.
    pub(crate) handler_kills: u64,
    /// Most deliveries within one second while the target recovered from an outage; bounded by
    /// `breaker.rampPerSecond`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery_peak_per_second: Option<usize>,
    /// From start to the first acknowledged row.
    pub(crate) first_synced_ms: Option<u128>,
    /// From start to the end.
    pub(crate) elapsed_ms: u128,
}

impl Ledger {
    /// Whether the promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        let strays = [self.out_of_order, self.stray_copies];
        self.lost == 0 && self.differing == 0 && strays.iter().all(|n| n.unwrap_or(0) == 0)
    }

    /// Counts.
    pub(crate) fn count(stack: &Stack, config: &SyncConfig) -> Self {
        // The queues first: what they let go of in between shows up further along the way.
        let places = Places::of(stack);
        let (changes, counters) = (stack.dataverse.changes(), stack.dataverse.counters());
        let target = Held::of(stack, config);
        let mut ledger = Self {
            changes: changes.len(),
            deliveries: stack.target.counters().applied,
            acknowledgements: stack.dataverse.ack_writes().len(),
            dead_lettered: places.dead_messages,
            dataverse_requests: counters.integration.total(),
            swept: counters.post_failures,
            ..Self::default()
        };
        if let Some(witness) = stack.bus.snapshot(WITNESS) {
            let is_copy = |m: &&MessageView| m.properties.contains_key(ORIGINAL_MESSAGE_ID);
            let copies = witness.active.iter().filter(is_copy).count();
            ledger.witnessed = Some(witness.active.len() - copies);
            ledger.stray_copies = Some(copies);
        }
        for entity in stack.entities() {
            if let Some(counters) = stack.bus.counters(entity) {
                ledger.retries += counters.scheduled;
                ledger.redeliveries += counters.abandoned + counters.lock_expiries;
            }
        }
        let mut rows = BTreeSet::new();
        for change in &changes {
            rows.insert((change.table, change.row_id));
            let Some(id) = change.notification_id else {
                continue;
            };
            ledger.notifications += 1;
            let id = id.to_string();
            if places.pending.contains(&id) {
                ledger.pending += 1;
            } else if !places.dead.contains(&id) && !target.is_acknowledged(stack, change) {
                ledger.lost += 1;
            }
        }
        ledger.differing = rows
            .iter()
            .filter(|(table, id)| target.differs(stack, table, *id))
            .count();
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        if !rows.is_empty() {
            ledger.dataverse_requests_per_row =
                ledger.dataverse_requests as f64 / rows.len() as f64;
        }
        ledger
    }
}

/// Most deliveries within any one second of the ramp that followed an outage.
pub(crate) fn peak(stack: &Stack, config: &SyncConfig, ended: OffsetDateTime) -> usize {
    let ramp = Duration::seconds_f64(config.breaker.ramp_seconds);
    let calls = stack.target.calls();
    let calls: Vec<_> = calls
        .iter()
        .filter(|c| c.applied && c.at >= ended && c.at < ended + ramp)
        .map(|c| c.at)
        .collect();
    let within = |from: &OffsetDateTime| {
        calls
            .iter()
            .filter(|at| *at >= from && **at < *from + Duration::SECOND)
            .count()
    };
    calls.iter().map(within).max().unwrap_or(0)
}

/// Which notifications are where, by the broker's and the outbox table's records.
struct Places {
    pending: BTreeSet<String>,
    dead: BTreeSet<String>,
    dead_messages: usize,
}

impl Places {
    fn of(stack: &Stack) -> Self {
        let mut places = Self {
            pending: BTreeSet::new(),
            dead: BTreeSet::new(),
            dead_messages: 0,
        };
        for row in stack.dataverse.outbox() {
            if let Some(id) = row.get("dvs_messageid").and_then(Value::as_str) {
                places.pending.insert(id.to_owned());
            }
        }
        for entity in stack.entities() {
            let Some(snapshot) = stack.bus.snapshot(entity) else {
                continue;
            };
            let waiting = [
                &snapshot.active,
                &snapshot.locked,
                &snapshot.scheduled,
                &snapshot.deferred,
            ];
            places
                .pending
                .extend(waiting.into_iter().flatten().filter_map(notification_id));
            places
                .dead
                .extend(snapshot.dead_letter.iter().filter_map(notification_id));
            places.dead_messages += snapshot.dead_letter.len();
        }
        // Where there are sessions, a message that is given up goes there.
        let rejected = stack.bus.snapshot(REJECTED).unwrap_or_default().active;
        places
            .dead
            .extend(rejected.iter().filter_map(notification_id));
        places.dead_messages += rejected.len();
        places
    }
}

/// The notification a message is or answers; both kinds of body name it.
fn notification_id(message: &MessageView) -> Option<String> {
    let body: Value = serde_json::from_slice(&message.body).ok()?;
    body.get("notificationId")?.as_str().map(str::to_owned)
}

/// What the target holds, and what it should hold.
struct Held<'a> {
    config: &'a SyncConfig,
    rows: BTreeMap<(String, String), Map<String, Value>>,
}

impl<'a> Held<'a> {
    fn of(stack: &Stack, config: &'a SyncConfig) -> Self {
        let rows = stack.target.rows().into_iter();
        let rows = rows
            .map(|r| ((format!("/{}", r.entity), r.external_id), r.body))
            .collect();
        Self { config, rows }
    }

    fn get(&self, table: &str, id: Uuid) -> Option<&Map<String, Value>> {
        let path = &self.config.tables.get(table)?.target.write.path;
        let path = path.fill(id, None);
        let (entity, id) = path.rsplit_once('/')?;
        self.rows.get(&(entity.to_owned(), id.to_owned()))
    }

    /// Whether the row says so itself. A deleted row can no longer say anything; then the target must
    /// have forgotten it.
    fn is_acknowledged(&self, stack: &Stack, change: &Change) -> bool {
        let Some(row) = stack.dataverse.row(change.table, change.row_id) else {
            return self.get(change.table, change.row_id).is_none();
        };
        let Some(table) = self.config.tables.get(change.table) else {
            return false;
        };
        let version = row.get(&table.ack.version).and_then(Value::as_str);
        let version: Option<i64> = version.and_then(|v| v.parse().ok());
        debug_assert!(
            change.operation != Operation::Delete,
            "a deleted row never comes back here"
        );
        version.is_some_and(|version| version >= change.version)
    }

    fn differs(&self, stack: &Stack, table: &str, id: Uuid) -> bool {
        let should = stack.dataverse.row(table, id).and_then(|mut row| {
            let config = self.config.tables.get(table)?;
            for navigation in config.expand().into_keys() {
                let related = stack.dataverse.related(table, id, navigation);
                row.insert(
                    navigation.into(),
                    related.map_or(Value::Null, Value::Object),
                );
            }
            let payload = mapping::map(config, &row);
            payload.ok().map(|p| p.body)
        });
        self.get(table, id) != should.as_ref()
    }
}
