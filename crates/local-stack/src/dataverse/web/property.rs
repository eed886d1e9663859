//! One value of one row: `…/accounts(id)/name`, and clearing a lookup by `…/$ref`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::dispatch::Operation;
use super::message::ApiResponse;
use super::read::existing;
use super::write::{Precondition, check_version};
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::path::RowKey;
use crate::dataverse::payload::Payload;
use crate::dataverse::schema::Table;
use crate::dataverse::service;
use crate::dataverse::store::Store;
use crate::dataverse::transaction::Transaction;

/// `GET …/name`
pub(super) fn read(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    name: &str,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&[])?;
    let Some(column) = table.property(name) else {
        return Err(ApiError::unknown_segment(name));
    };
    let row = existing(store, table, key)?;
    if row.cells[column].is_null() {
        return Ok(ApiResponse::empty(StatusCode::NO_CONTENT));
    }
    let context = format!(
        "{}/$metadata#{}({})/{name}",
        operation.root(),
        table.set,
        row.id
    );
    let value = row.cells[column].to_json();
    let body = json!({"@odata.context": context, "value": value});
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

/// `PUT …/name {"value": …}`
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    name: &str,
) -> Result<ApiResponse, ApiError> {
    let body = operation.request.object()?;
    let value = body.get("value").cloned().unwrap_or(Value::Null);
    set(transaction, operation, table, key, name, value)
}

/// `DELETE …/name`
pub(super) fn clear(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    name: &str,
) -> Result<ApiResponse, ApiError> {
    set(transaction, operation, table, key, name, Value::Null)
}

/// `PUT …/primarycontactid/$ref {"@odata.id": …}`
pub(super) fn set_reference(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    name: &str,
) -> Result<ApiResponse, ApiError> {
    let mut body = operation.request.object()?;
    let reference = body.remove("@odata.id");
    if table.navigation(name).is_none() {
        return Err(ApiError::unknown_segment(name));
    }
    let bind = Map::from_iter([(format!("{name}@odata.bind"), reference.unwrap_or_default())]);
    update(transaction, operation, table, key, &bind)
}

/// `DELETE …/primarycontactid/$ref`
pub(super) fn clear_reference(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    name: &str,
) -> Result<ApiResponse, ApiError> {
    if table.navigation(name).is_none() {
        return Err(ApiError::unknown_segment(name));
    }
    set(transaction, operation, table, key, name, Value::Null)
}

fn set(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    name: &str,
    value: Value,
) -> Result<ApiResponse, ApiError> {
    if table.property(name).is_none() && table.navigation(name).is_none() {
        return Err(ApiError::unknown_segment(name));
    }
    update(
        transaction,
        operation,
        table,
        key,
        &Map::from_iter([(name.to_owned(), value)]),
    )
}

fn update(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
    body: &Map<String, Value>,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&[])?;
    let id = existing(transaction.store(), table, key)?.id;
    check_version(transaction, table, id, &Precondition::of(operation))?;
    let payload = Payload::parse(table, body, transaction.store())?;
    service::update(transaction, &operation.save(), table, id, &payload)?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}
