//! What a target holds, and what it should hold.

use std::collections::BTreeMap;

use local_stack::dataverse::{Change, Operation};
use local_stack::stack::Stack;
use serde_json::{Map, Value};
use sync_core::config::SyncConfig;
use sync_core::mapping;
use uuid::Uuid;

use super::super::lanes::Lane;

/// What the target holds, and what it should hold.
pub(super) struct Held<'a> {
    config: &'a SyncConfig,
    rows: BTreeMap<(String, String), Map<String, Value>>,
}

impl<'a> Held<'a> {
    pub(super) fn of(lane: &Lane<'a>) -> Self {
        let rows = lane.target.rows().into_iter();
        let rows = rows
            .map(|r| ((format!("/{}", r.entity), r.external_id), r.body))
            .collect();
        let config = lane.config;
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
    pub(super) fn is_acknowledged(&self, stack: &Stack, change: &Change) -> bool {
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

    pub(super) fn differs(&self, stack: &Stack, table: &str, id: Uuid) -> bool {
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
