//! Writing: create, update, upsert, delete, and their preconditions.

use http::{StatusCode, header};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::dispatch::Operation;
use super::message::ApiResponse;
use super::read::{existing, representation};
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::path::RowKey;
use crate::dataverse::payload::{Payload, alternate, cell, find};
use crate::dataverse::schema::Table;
use crate::dataverse::service::{self, Save};
use crate::dataverse::transaction::Transaction;

/// What `If-Match` and `If-None-Match` demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Precondition {
    None,
    /// `If-Match: *`
    Exists,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: W/"n"`
    Version(String),
}

impl Precondition {
    pub(super) fn of(operation: &Operation<'_>) -> Self {
        let header = |name| operation.request.header(name).map(str::trim);
        match (header("if-match"), header("if-none-match")) {
            (Some("*"), _) => Self::Exists,
            (Some(etag), _) => Self::Version(etag.to_owned()),
            (None, Some("*")) => Self::Absent,
            // The literal word `null` is a way to say nothing.
            _ => Self::None,
        }
    }
}

pub(super) fn create(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&["$select"])?;
    let body = operation.request.object()?;
    let payload = Payload::parse(table, &body, transaction.store())?;
    let id = payload.id.unwrap_or_else(Uuid::new_v4);
    service::create(transaction, &operation.save(), table, id, &payload)?;
    let url = operation.row_url(table, id);
    written(transaction, operation, table, id, &url, StatusCode::CREATED)
        .map(|answer| answer.with(header::LOCATION, &url))
}

pub(super) fn patch(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&["$select"])?;
    let body = operation.request.object()?;
    let payload = Payload::parse(table, &body, transaction.store())?;
    let (id, created) = upsert(
        transaction,
        &operation.save(),
        table,
        key,
        &payload,
        &Precondition::of(operation),
    )?;
    // The URL comes back as the caller wrote it: by key, if it was by key.
    let url = format!("{}/{}", operation.root(), operation.request.path);
    let status = match created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    written(transaction, operation, table, id, &url, status)
}

/// Updates the row a key names, or creates it if there is none and nothing forbids it.
fn upsert(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    key: &RowKey,
    payload: &Payload,
    precondition: &Precondition,
) -> Result<(Uuid, bool), ApiError> {
    let found = find_row(transaction, table, key)?;
    match (found, precondition) {
        (Ok(_), Precondition::Absent) => Err(ApiError::already_exists()),
        (Ok(id), _) => {
            check_version(transaction, table, id, precondition)?;
            let payload = without_key(table, key, payload);
            service::update(transaction, save, table, id, &payload)?;
            Ok((id, false))
        }
        (Err(missing), Precondition::Exists | Precondition::Version(_)) => Err(missing),
        (Err(_), _) => {
            let (id, payload) = with_key(table, key, payload)?;
            service::create(transaction, save, table, id, &payload)?;
            Ok((id, true))
        }
    }
}

/// The row a key names (`Ok(Err(_))`: there is none, and how that is said).
fn find_row(
    transaction: &Transaction<'_>,
    table: &Table,
    key: &RowKey,
) -> Result<Result<Uuid, ApiError>, ApiError> {
    match existing(transaction.store(), table, key) {
        Ok(row) => Ok(Ok(row.id)),
        Err(missing) if missing.status == 404 => Ok(Err(missing)),
        Err(error) => Err(error),
    }
}

pub(super) fn check_version(
    transaction: &Transaction<'_>,
    table: &Table,
    id: Uuid,
    precondition: &Precondition,
) -> Result<(), ApiError> {
    let Precondition::Version(etag) = precondition else {
        return Ok(());
    };
    match transaction.store().row(table, id) {
        Some(row) if row.etag() == *etag => Ok(()),
        _ => Err(ApiError::version_mismatch()),
    }
}

/// On update, key columns in the body are ignored.
fn without_key(table: &Table, key: &RowKey, payload: &Payload) -> Payload {
    let mut payload = payload.clone();
    if let RowKey::Alternate(parts) = key {
        let in_key = |column: usize| {
            let name = table.property_name(column);
            parts.iter().any(|(part, _)| *part == name)
        };
        payload.cells.retain(|(column, _)| !in_key(*column));
    }
    payload
}

/// On create, key columns come from the URL unless the body has them.
fn with_key(table: &Table, key: &RowKey, payload: &Payload) -> Result<(Uuid, Payload), ApiError> {
    let mut payload = payload.clone();
    match key {
        RowKey::Id(id) => Ok((*id, payload)),
        RowKey::Alternate(parts) => {
            alternate(table, parts)?;
            for (name, value) in parts {
                let column = table.property(name);
                let given = |column| payload.cells.iter().any(|(c, _)| *c == column);
                if let Some(column) = column.filter(|column| !given(*column)) {
                    payload.cells.push((column, cell(table, column, value)?));
                }
            }
            Ok((payload.id.unwrap_or_else(Uuid::new_v4), payload))
        }
    }
}

fn written(
    transaction: &Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    id: Uuid,
    url: &str,
    status: StatusCode,
) -> Result<ApiResponse, ApiError> {
    if operation.request.wants_representation() {
        return representation(transaction.store(), operation, table, id, status);
    }
    Ok(ApiResponse::written(url))
}

pub(super) fn delete(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&[])?;
    let id = existing(transaction.store(), table, key)?.id;
    check_version(transaction, table, id, &Precondition::of(operation))?;
    service::delete(transaction, &operation.save(), table, id)?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// A user's save in process: update when `id` is given, else create. Returns id and version.
pub(in crate::dataverse) fn save_row(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    id: Option<Uuid>,
    body: &Map<String, Value>,
) -> Result<(Uuid, i64), ApiError> {
    let payload = Payload::parse(table, body, transaction.store())?;
    match id {
        Some(id) => {
            let version = service::update(transaction, save, table, id, &payload)?;
            Ok((id, version))
        }
        None => {
            let id = payload.id.unwrap_or_else(Uuid::new_v4);
            let version = service::create(transaction, save, table, id, &payload)?;
            Ok((id, version))
        }
    }
}

/// A user's delete in process.
pub(in crate::dataverse) fn delete_row(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    id: Uuid,
) -> Result<(), ApiError> {
    let id = find(table, &RowKey::Id(id), transaction.store())?;
    service::delete(transaction, save, table, id)
}

/// The row one element of `Targets` names: by its primary key, or by `@odata.id`.
pub(super) fn target_key(
    table: &Table,
    target: &Map<String, Value>,
) -> Result<Option<RowKey>, ApiError> {
    if let Some(reference) = target.get("@odata.id").and_then(Value::as_str) {
        let (set, key) = crate::dataverse::odata::path::parse_reference(reference)?;
        if set != table.set {
            return Err(ApiError::payload(
                table.set,
                "@odata.id names another entity set.",
            ));
        }
        return Ok(Some(key));
    }
    let id = target.get(table.primary_key).and_then(Value::as_str);
    Ok(id.and_then(|id| Uuid::parse_str(id).ok()).map(RowKey::Id))
}

/// Upserts one element of `Targets`, by the rules of an unconditional PATCH.
pub(super) fn upsert_target(
    transaction: &mut Transaction<'_>,
    save: &Save<'_>,
    table: &Table,
    key: &RowKey,
    payload: &Payload,
) -> Result<Uuid, ApiError> {
    let none = Precondition::None;
    upsert(transaction, save, table, key, payload, &none).map(|(id, _)| id)
}
