//! Where notifications are, by the broker's and the outbox table's records.

use std::collections::BTreeSet;

use local_stack::bus::MessageView;
use local_stack::stack::{REJECTED, Stack};
use serde_json::Value;

use super::super::lanes::Lane;

/// Which notifications are where, on their way to one target.
pub(super) struct Places {
    pub(super) pending: BTreeSet<String>,
    pub(super) dead: BTreeSet<String>,
}

impl Places {
    pub(super) fn of(stack: &Stack, lane: &Lane<'_>) -> Self {
        let mut places = Self {
            pending: BTreeSet::new(),
            dead: BTreeSet::new(),
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
            let owned = |message: &&MessageView| lane.owns(entity, message);
            let waiting = [
                &snapshot.active,
                &snapshot.locked,
                &snapshot.scheduled,
                &snapshot.deferred,
            ];
            let waiting = waiting.into_iter().flatten().filter(owned);
            places.pending.extend(waiting.filter_map(notification_id));
            let dead = snapshot.dead_letter.iter().filter(owned);
            places.dead.extend(dead.filter_map(notification_id));
        }
        // Where there are sessions, a message that is given up goes there.
        let rejected = stack.bus.snapshot(REJECTED).unwrap_or_default().active;
        let rejected = rejected.iter().filter_map(notification_id);
        places.dead.extend(rejected);
        places
    }
}

/// Messages in the dead-letter queues, and in the queue of rejected ones.
pub(super) fn dead_messages(stack: &Stack) -> usize {
    let dead = |entity| stack.bus.counts(entity).map_or(0, |c| c.dead_letter);
    let rejected = stack.bus.counts(REJECTED).map_or(0, |c| c.active);
    stack.entities().map(dead).sum::<usize>() + rejected
}

/// The notification a message is or answers; both kinds of body name it.
fn notification_id(message: &MessageView) -> Option<String> {
    let body: Value = serde_json::from_slice(&message.body).ok()?;
    body.get("notificationId")?.as_str().map(str::to_owned)
}
