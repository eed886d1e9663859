//! `CreateMultiple`, `UpdateMultiple`, `UpsertMultiple`: one transaction, all or nothing.

use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::dispatch::Operation;
use super::message::ApiResponse;
use super::read::existing;
use super::write::{target_key, upsert_target};
use crate::dataverse::error::ApiError;
use crate::dataverse::payload::Payload;
use crate::dataverse::schema::Table;
use crate::dataverse::service;
use crate::dataverse::transaction::Transaction;

pub(super) fn run(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    action: &str,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&[])?;
    let body = match action {
        "CreateMultiple" | "UpdateMultiple" | "UpsertMultiple" => operation.request.object()?,
        _ => {
            let name = format!("Microsoft.Dynamics.CRM.{action}");
            return Err(ApiError::unknown_segment(&name));
        }
    };
    let mut ids = Vec::new();
    for target in targets(table, &body)? {
        operation.spend(|costs| costs.multiple_row);
        ids.push(one(transaction, operation, table, action, target)?);
    }
    if action != "CreateMultiple" {
        return Ok(ApiResponse::empty(StatusCode::NO_CONTENT));
    }
    let context = format!(
        "{}/$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse",
        operation.root()
    );
    let body = json!({"@odata.context": context, "Ids": ids});
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

fn one(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    table: &Table,
    action: &str,
    target: &Map<String, Value>,
) -> Result<Uuid, ApiError> {
    let save = operation.save();
    let payload = Payload::parse(table, target, transaction.store())?;
    let key = target_key(table, target)?;
    match (action, key) {
        ("CreateMultiple", _) => {
            let id = payload.id.unwrap_or_else(Uuid::new_v4);
            service::create(transaction, &save, table, id, &payload)?;
            Ok(id)
        }
        ("UpdateMultiple", Some(key)) => {
            let id = existing(transaction.store(), table, &key)?.id;
            service::update(transaction, &save, table, id, &payload)?;
            Ok(id)
        }
        ("UpsertMultiple", Some(key)) => upsert_target(transaction, &save, table, &key, &payload),
        _ => Err(ApiError::payload(
            table.set,
            "Each target needs its primary key or an @odata.id.",
        )),
    }
}

fn targets<'a>(
    table: &Table,
    body: &'a Map<String, Value>,
) -> Result<Vec<&'a Map<String, Value>>, ApiError> {
    let targets = body.get("Targets").and_then(Value::as_array);
    let Some(targets) = targets.filter(|targets| !targets.is_empty()) else {
        return Err(ApiError::payload(
            table.set,
            "Targets must be a list of rows.",
        ));
    };
    let expected = format!("Microsoft.Dynamics.CRM.{}", table.logical);
    let objects = targets.iter().map(|target| {
        let object = target.as_object();
        let typed = object.filter(|object| {
            let kind = object.get("@odata.type").and_then(Value::as_str);
            kind.map(|kind| kind.trim_start_matches('#')) == Some(expected.as_str())
        });
        typed.ok_or_else(|| {
            let inner = format!("Each target must be an object of @odata.type {expected}.");
            ApiError::payload(table.set, &inner)
        })
    });
    objects.collect()
}
