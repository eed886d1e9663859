//! What the target holds, and its rules: own ids, upsert by the source's id, version guard.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// One row as the target holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRow {
    /// `customers` or `contacts`.
    pub entity: &'static str,
    /// The source row's id, by which the integration addresses it.
    pub external_id: String,
    /// The id this system gave it, such as `C-000123`.
    pub id: String,
    /// The body of the last write.
    pub body: Map<String, Value>,
    /// `x-source-version` of the last write.
    pub source_version: Option<String>,
    /// How often it was written.
    pub writes: u64,
    /// When it was written last.
    pub updated_at: OffsetDateTime,
}

/// What the API answers: a status and a JSON body, if any.
pub(super) type Answer = (u16, Option<Value>);

#[derive(Debug, Default)]
pub(super) struct Store {
    rows: BTreeMap<(&'static str, String), TargetRow>,
    /// Versions of deleted rows: an older write must not bring one back.
    deleted: BTreeMap<(&'static str, String), Option<String>>,
    issued: u64,
}

/// The entity sets, with the prefix of the ids issued for them.
const ENTITIES: [(&str, &str); 2] = [("customers", "C"), ("contacts", "P")];

pub(super) fn entity(segment: &str) -> Option<&'static str> {
    ENTITIES
        .iter()
        .map(|(entity, _)| *entity)
        .find(|entity| *entity == segment)
}

pub(super) fn refusal(status: u16, code: &str, message: &str) -> Answer {
    (status, Some(json!({"code": code, "message": message})))
}

/// The refusal of a row for one of its fields.
pub(super) fn invalid(code: &str, field: &str) -> Answer {
    let message = format!("{field} is not acceptable.");
    (
        422,
        Some(json!({"code": code, "field": field, "message": message})),
    )
}

impl Store {
    /// The external id of the row that the system knows by `id`.
    pub(super) fn external_id(&self, entity: &'static str, id: &str) -> Option<String> {
        let row = self
            .rows()
            .find(|row| row.entity == entity && row.id == id)?;
        Some(row.external_id.clone())
    }

    /// Rows by external id, as a list of one or none.
    pub(super) fn find(&self, entity: &'static str, external_id: &str) -> Answer {
        let items: Vec<Value> = self
            .row(entity, external_id)
            .map(document)
            .into_iter()
            .collect();
        (200, Some(json!({ "items": items })))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &TargetRow> {
        self.rows.values()
    }

    pub(super) fn row(&self, entity: &'static str, external_id: &str) -> Option<&TargetRow> {
        self.rows.get(&(entity, external_id.to_owned()))
    }

    pub(super) fn get(&self, entity: &'static str, external_id: &str) -> Answer {
        match self.row(entity, external_id) {
            Some(row) => (200, Some(document(row))),
            None => refusal(404, "not-found", "No row has this external id."),
        }
    }

    pub(super) fn list(&self, entity: &'static str) -> Answer {
        let rows = self.rows().filter(|row| row.entity == entity);
        let documents: Vec<Value> = rows.map(document).collect();
        (200, Some(json!({"value": documents})))
    }

    pub(super) fn put(
        &mut self,
        entity: &'static str,
        external_id: &str,
        body: &[u8],
        version: Option<&str>,
        guard: bool,
        now: OffsetDateTime,
    ) -> Answer {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return refusal(400, "bad-json", "The body must be a JSON object.");
        };
        if let Some(refused) = broken_rule(entity, &body) {
            return refused;
        }
        if guard && self.has_newer(entity, external_id, version) {
            return older_version();
        }
        let key = (entity, external_id.to_owned());
        self.deleted.remove(&key);
        if let Some(row) = self.rows.get_mut(&key) {
            row.body = body;
            row.source_version = version.map(str::to_owned);
            row.writes += 1;
            row.updated_at = now;
            return (200, Some(document(row)));
        }
        self.issued += 1;
        let prefix = ENTITIES.iter().find(|(name, _)| *name == entity);
        let row = TargetRow {
            entity,
            external_id: external_id.to_owned(),
            id: format!("{}-{:06}", prefix.map_or("X", |(_, p)| p), self.issued),
            body,
            source_version: version.map(str::to_owned),
            writes: 1,
            updated_at: now,
        };
        let answer = (201, Some(document(&row)));
        self.rows.insert(key, row);
        answer
    }

    /// Changes the named members of a row that is there.
    pub(super) fn patch(
        &mut self,
        entity: &'static str,
        external_id: &str,
        body: &[u8],
        version: Option<&str>,
        guard: bool,
        now: OffsetDateTime,
    ) -> Answer {
        let Some(row) = self.row(entity, external_id) else {
            return refusal(404, "not-found", "No row has this external id.");
        };
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return refusal(400, "bad-json", "The body must be a JSON object.");
        };
        let mut whole = row.body.clone();
        whole.extend(members);
        let whole = Value::Object(whole).to_string();
        self.put(entity, external_id, whole.as_bytes(), version, guard, now)
    }

    pub(super) fn delete(
        &mut self,
        entity: &'static str,
        external_id: &str,
        version: Option<&str>,
        guard: bool,
    ) -> Answer {
        if guard && self.has_newer(entity, external_id, version) {
            return older_version();
        }
        let key = (entity, external_id.to_owned());
        let known = self.rows.remove(&key).is_some();
        self.deleted.insert(key, version.map(str::to_owned));
        if known {
            (204, None)
        } else {
            refusal(404, "not-found", "No row has this external id.")
        }
    }

    fn has_newer(&self, entity: &'static str, external_id: &str, version: Option<&str>) -> bool {
        let key = (entity, external_id.to_owned());
        let held = match self.rows.get(&key) {
            Some(row) => row.source_version.as_deref(),
            None => self.deleted.get(&key).and_then(Option::as_deref),
        };
        let number = |version: &str| version.parse::<u64>().ok();
        match (held.and_then(number), version.and_then(number)) {
            (Some(held), Some(offered)) => offered < held,
            _ => false,
        }
    }
}

fn older_version() -> Answer {
    refusal(
        409,
        "older-version",
        "A newer version of this row is already here.",
    )
}

/// The business rule that can be broken to see a permanent rejection.
fn broken_rule(entity: &str, body: &Map<String, Value>) -> Option<Answer> {
    let refuse = |message| Some(refusal(422, "invalid-name", message));
    match body.get("name") {
        None if entity == "customers" => refuse("name is required."),
        None => None,
        Some(Value::String(name)) if name.trim().is_empty() => refuse("name must not be empty."),
        Some(Value::String(name)) if name.contains("REJECT") => {
            refuse("name is not acceptable here.")
        }
        Some(Value::String(_)) => None,
        Some(_) => refuse("name must be a text."),
    }
}

fn document(row: &TargetRow) -> Value {
    let updated_at = row
        .updated_at
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default();
    let mut document = json!({
        "id": row.id,
        "externalId": row.external_id,
        "revision": row.writes,
        "updatedAt": updated_at,
    });
    document["data"] = Value::Object(row.body.clone());
    document
}
