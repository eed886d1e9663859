//! The ledger: did anything get lost, does anything differ?
//!
//! Counted from the stand-ins' own records: what Dataverse committed, what the broker holds, what the
//! target holds. Nothing the function apps claim is believed; how their identities fare, which nobody
//! else can know, stands beside it and decides nothing.

mod held;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use local_stack::bus::MessageView;
use local_stack::stack::{Stack, WITNESS};
use serde::Serialize;
use sync_core::config::SyncConfig;
use sync_core::message::ORIGINAL_MESSAGE_ID;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::governor::IdentityReport;
use super::instances::InstanceReport;
use super::lanes::{Lane, lanes};
use held::Held;
use places::{Places, dead_messages};

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
    /// Notifications still in the outbox or on a queue. This and what is counted of them below: over all
    /// targets.
    pub(crate) pending: usize,
    /// Notifications neither acknowledged at their version or a newer one, nor dead-lettered, nor
    /// pending.
    pub(crate) lost: usize,
    /// With sessions: calls of the target that carried an older version of a row than a call sent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_order: Option<usize>,
    /// Rows whose state in the target is not the mapping of the Dataverse row.
    pub(crate) differing: usize,
    /// With several targets: how each fared, by `targetSystem`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) targets: BTreeMap<String, TargetLedger>,
    /// With a topic: new notifications that reached the subscription of another target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) witnessed: Option<usize>,
    /// With a topic: retry copies that reached a subscription they did not come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stray_copies: Option<usize>,
    /// Calls that the targets answered 401.
    pub(crate) unauthorized: u64,
    /// What each instance of the apps asked of Key Vault and of the identity endpoint.
    pub(crate) instances: BTreeMap<String, InstanceReport>,
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

/// What became of everything at one of several targets; the members mean what they mean in [`Ledger`].
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetLedger {
    pub(crate) deliveries: u64,
    pub(crate) dead_lettered: usize,
    pub(crate) pending: usize,
    pub(crate) lost: usize,
    pub(crate) differing: usize,
}

impl Ledger {
    /// Whether the promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        let strays = [self.out_of_order, self.stray_copies];
        self.lost == 0 && self.differing == 0 && strays.iter().all(|n| n.unwrap_or(0) == 0)
    }

    /// Counts. `configs` are the sync files in the order of the stack's targets.
    pub(crate) fn count(stack: &Stack, configs: &[SyncConfig]) -> Self {
        let lanes = lanes(stack, configs);
        // The queues first: what they let go of in between shows up further along the way.
        let dead_lettered = dead_messages(stack);
        let places: Vec<_> = lanes.iter().map(|lane| Places::of(stack, lane)).collect();
        let (changes, counters) = (stack.dataverse.changes(), stack.dataverse.counters());
        let rows: BTreeSet<_> = changes.iter().map(|c| (c.table, c.row_id)).collect();
        let mut ledger = Self {
            changes: changes.len(),
            notifications: changes.iter().filter_map(|c| c.notification_id).count(),
            acknowledgements: stack.dataverse.ack_writes().len(),
            dead_lettered,
            dataverse_requests: counters.integration.total(),
            swept: counters.post_failures,
            unauthorized: stack.targets().map(|t| t.counters().unauthorized).sum(),
            ..Self::default()
        };
        for (lane, places) in lanes.iter().zip(&places) {
            let one = TargetLedger::count(stack, lane, places, &rows);
            ledger.deliveries += one.deliveries;
            ledger.pending += one.pending;
            ledger.lost += one.lost;
            ledger.differing += one.differing;
            if lanes.len() > 1 {
                let name = lane.config.target_system.clone();
                ledger.targets.insert(name, one);
            }
        }
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
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        if !rows.is_empty() {
            ledger.dataverse_requests_per_row =
                ledger.dataverse_requests as f64 / rows.len() as f64;
        }
        ledger
    }
}

impl TargetLedger {
    fn count(
        stack: &Stack,
        lane: &Lane<'_>,
        places: &Places,
        rows: &BTreeSet<(&'static str, Uuid)>,
    ) -> Self {
        let target = Held::of(lane);
        let mut ledger = Self {
            deliveries: lane.target.counters().applied,
            ..Self::default()
        };
        for change in stack.dataverse.changes() {
            let Some(id) = change.notification_id else {
                continue;
            };
            let id = id.to_string();
            if places.pending.contains(&id) {
                ledger.pending += 1;
            } else if places.dead.contains(&id) {
                ledger.dead_lettered += 1;
            } else if !target.is_acknowledged(stack, &change) {
                ledger.lost += 1;
            }
        }
        let differs = |(table, id): &&(&str, Uuid)| target.differs(stack, table, *id);
        ledger.differing = rows.iter().filter(differs).count();
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
