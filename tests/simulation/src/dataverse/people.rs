//! The workload: people and imports that change rows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;

use super::{OutboxEntry, REFUSED, Row, plugin, value_of};
use crate::plan::Fault;
use crate::truth::{Change, Kind};
use crate::world::{State, World, row_id, table_of};

/// A new outbox row is left to the plug-in's own step for this long.
const PLUG_IN_GRACE: Duration = Duration::from_secs(120);

/// Makes all the changes of the plan, in bursts and lulls.
pub(crate) async fn people(world: Arc<World>) {
    let (count, pace) = {
        let s = world.lock();
        (s.plan.notifications, s.plan.pace.as_millis() as u64)
    };
    for _ in 0..count {
        let pause = world.lock().dice.millis(0, pace * 3);
        sleep(pause).await;
        let mut s = world.lock();
        let rows = s.plan.rows;
        let row = s.dice.index(rows);
        let id = s.change(row);
        s.busy += 1;
        drop(s);
        tokio::spawn(plugin::post(Arc::clone(&world), id));
    }
    world.lock().busy -= 1;
}

impl State {
    /// One change of one row, with its outbox row in the same transaction; the outbox row's id.
    fn change(&mut self, number: usize) -> uuid::Uuid {
        let (now, exists) = (self.now(), self.dataverse.rows.contains_key(&number));
        let (kind, hint, announced) = if self.strikes(Fault::Poison) {
            let reason = self.dice.pick(&["InvalidNotification", "UnknownTable"]);
            (Kind::Poison(reason), "update", None)
        } else if exists && self.strikes(Fault::Delete) {
            let before = self.dataverse.rows.remove(&number);
            self.dataverse.next_version();
            self.note(Some(number), "the row is deleted".into());
            (Kind::Deleted, "delete", before.map(|row| row.version))
        } else if self.may_save(number, exists) && !self.strikes(Fault::Resync) {
            self.save(number);
            let version = self.dataverse.rows.get(&number).map(|r| r.version);
            (
                Kind::Saved,
                if exists { "update" } else { "create" },
                version,
            )
        } else {
            self.note(Some(number), "somebody asks for the row again".into());
            (Kind::Resync, "resync", None)
        };
        let id = self.dice.uuid();
        // Somebody who asks for a row wants at least what it is now.
        let held = self.dataverse.rows.get(&number).map(|r| r.version);
        let version = match kind {
            Kind::Resync => held,
            _ => announced,
        };
        let version = version.unwrap_or(self.dataverse.version);
        let body = self.notification(number, id, kind, hint, announced);
        self.figures.notifications += 1;
        self.truth.announce(Change {
            notification: id.to_string(),
            row: number,
            version,
            kind,
            at: now,
            body,
        });
        let entry = OutboxEntry {
            change: self.truth.changes.len() - 1,
            failed: false,
            version,
            created: now,
            next: Some(now + PLUG_IN_GRACE),
            attempts: 0,
            reason: None,
        };
        self.dataverse.outbox.insert(id, entry);
        id
    }

    /// A row that was deleted comes back only if the plan says so.
    fn may_save(&mut self, number: usize, exists: bool) -> bool {
        let existed = self
            .truth
            .changes
            .iter()
            .any(|c| c.row == number && c.kind == Kind::Saved);
        exists || !existed || self.strikes(Fault::Recreate)
    }

    fn save(&mut self, number: usize) {
        let letter = if self.strikes(Fault::Refuse) {
            REFUSED
        } else {
            self.dice.pick(&['A', 'B', 'C'])
        };
        let (now, version) = (self.now(), self.dataverse.next_version());
        let row = self.dataverse.rows.entry(number).or_insert_with(|| Row {
            letter,
            version,
            changed: version,
            created: now,
            ack: Map::new(),
        });
        (row.letter, row.version, row.changed) = (letter, version, version);
        self.note(
            Some(number),
            format!("the row is saved: {letter} v{version}"),
        );
    }

    fn notification(
        &mut self,
        number: usize,
        id: uuid::Uuid,
        kind: Kind,
        hint: &str,
        announced: Option<i64>,
    ) -> String {
        let (table, row) = (table_of(number), row_id(number));
        let table = match kind {
            Kind::Poison("UnknownTable") => "invoice",
            Kind::Poison(_) => {
                return format!("{{\"schemaVersion\":1,\"name\":\"{}", value_of(number, 'A'));
            }
            _ => table,
        };
        let correlation = format!("c-{id}");
        if matches!(kind, Kind::Saved | Kind::Deleted) && self.strikes(Fault::Native) {
            let message = match hint {
                "create" => "Create",
                "delete" => "Delete",
                _ => "Update",
            };
            return json!({"MessageName": message, "PrimaryEntityName": table, "PrimaryEntityId": row,
                "CorrelationId": id, "OperationId": id, "OperationCreatedOn": "/Date(1772438400000)/",
                "InputParameters": [{"key": "Target", "value": value_of(number, 'A')}]})
            .to_string();
        }
        let mut body = json!({"schemaVersion": 1, "notificationId": id, "correlationId": correlation,
            "table": table, "sourceRowId": row, "operation": hint,
            "occurredAt": self.now().format(&Rfc3339).unwrap_or_default()});
        if let Some(version) = announced {
            body["rowVersion"] = json!(version.to_string());
        }
        if kind == Kind::Deleted {
            body["preImage"] = json!({"name": value_of(number, 'A')});
        }
        body.to_string()
    }
}
