//! Whether the target holds a row as Dataverse has it, as far as the row's own acknowledgement columns tell.
//! Pure.
//!
//! The acknowledged payload's hash is compared with what the mapping makes of the row now. That finds what no
//! notification told of: a mapped column that no plug-in step watches, an import that bypassed the plug-in, a
//! step that was off, another mapping. It finds no row that was deleted unnoticed, since that is not there to
//! be looked at, and not what somebody changed in the target. The hash decides what is *looked at again*, never
//! what is sent: that is the row as it is when its notification is taken.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::config::TableConfig;
use crate::failure::Class;
use crate::mapping;

/// How a row stands in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As it was acknowledged, it is.
    Same,
    /// Nothing was ever acknowledged.
    NeverAcknowledged,
    /// Its last change was rejected.
    Rejected,
    /// Something else was acknowledged: another state of the row, or the same by another mapping.
    Different,
    /// It needs another row that was not acknowledged yet.
    Waiting,
    /// The mapping refuses it as it is, and the row does not say so.
    NotMapped,
    /// It would be rejected as it is, or wait in vain, and its last change was rejected.
    Refused,
}

impl Standing {
    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::NeverAcknowledged => "never acknowledged",
            Self::Rejected => "rejected",
            Self::Different => "different",
            Self::Waiting => "waiting for another row",
            Self::NotMapped => "not mapped",
            Self::Refused => "rejected, and would be again",
        }
    }

    /// Whether a notification would change how it stands, or at least have its row say so.
    #[must_use]
    pub fn is_due(self) -> bool {
        !matches!(self, Self::Same | Self::Refused)
    }
}

/// `dvs_ackstate` of a rejection.
const REJECTED: i64 = 3;

/// The columns that [`standing`] reads of the row itself, besides those of [`TableConfig::expand`].
#[must_use]
pub fn columns(table: &TableConfig) -> BTreeSet<&str> {
    let own = [
        table.primary_key.as_str(),
        &table.ack.payload_hash,
        &table.ack.state,
    ];
    table.select().into_iter().chain(own).collect()
}

/// How a row stands that was read with these [`columns`].
#[must_use]
pub fn standing(table: &TableConfig, row: &Map<String, Value>) -> Standing {
    let state = row.get(&table.ack.state).and_then(Value::as_i64);
    let acknowledged = row.get(&table.ack.payload_hash).and_then(Value::as_str);
    let mapped = mapping::required(table, row).and_then(|()| mapping::map(table, row));
    match (mapped, acknowledged) {
        // Also one that waits: it was given up when its message was too old, and would be once more. When the
        // row that it waits for is there, this one can be mapped.
        (Err(_), _) if state == Some(REJECTED) => Standing::Refused,
        (Err(failure), _) if failure.class == Class::Waiting => Standing::Waiting,
        (Err(_), _) => Standing::NotMapped,
        _ if state == Some(REJECTED) => Standing::Rejected,
        (Ok(_), None) => Standing::NeverAcknowledged,
        (Ok(payload), Some(hash)) if payload.hash == hash => Standing::Same,
        (Ok(_), Some(_)) => Standing::Different,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::SyncConfig;

    fn table() -> TableConfig {
        let text = r#"{
            "targetSystem": "erp",
            "target": { "auth": { "kind": "bearer" } },
            "tables": {
                "account": {
                    "entitySet": "accounts", "primaryKey": "accountid",
                    "fields": { "name": { "column": "name", "ifNull": "reject" } },
                    "target": { "path": "/customers/{sourceRowId}" }
                }
            }
        }"#;
        let config = SyncConfig::parse(text, "sync.json").unwrap();
        TableConfig::clone(&config.tables["account"])
    }

    #[test]
    fn a_row_stands_as_its_acknowledgement_columns_and_its_mapping_say() {
        let table = table();
        let hash = |name: &str| {
            let row = json!({ "name": name });
            mapping::map(&table, row.as_object().unwrap()).unwrap().hash
        };
        for (name, hash, state, expected) in [
            (json!("a"), json!(hash("a")), 1, Standing::Same),
            (json!("b"), json!(hash("a")), 1, Standing::Different),
            (json!("a"), Value::Null, 0, Standing::NeverAcknowledged),
            (json!("b"), json!(hash("a")), 3, Standing::Rejected),
            (Value::Null, json!(hash("a")), 1, Standing::NotMapped),
            (Value::Null, json!(hash("a")), 3, Standing::Refused),
        ] {
            let row = json!({ "name": name, "dvs_ackhash": hash, "dvs_ackstate": state });
            assert_eq!(
                standing(&table, row.as_object().unwrap()),
                expected,
                "{row}"
            );
        }
    }

    #[test]
    fn what_is_read_is_what_the_mapping_reads_and_how_the_row_was_acknowledged() {
        let table = table();
        let read: Vec<_> = columns(&table).into_iter().collect();
        let expected = [
            "accountid",
            "dvs_ackhash",
            "dvs_ackstate",
            "dvs_ackversion",
            "name",
            "versionnumber",
        ];
        assert_eq!(read, expected);
    }
}
