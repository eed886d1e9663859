//! `BulkDelete`, as far as the official Python client uses it: rows of one table by their ids.
//!
//! The real action starts a job that deletes the rows a little later, each on its own; here the job
//! is done when the answer is given.

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dispatch::Operation;
use super::message::ApiResponse;
use crate::dataverse::error::ApiError;
use crate::dataverse::schema::Table;
use crate::dataverse::service;
use crate::dataverse::transaction::Transaction;

pub(super) fn run(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&[])?;
    let body = operation.request.object()?;
    let queries = body.get("QuerySet").and_then(Value::as_array);
    let Some(queries) = queries.filter(|queries| !queries.is_empty()) else {
        return Err(ApiError::payload("", "QuerySet must be a list of queries."));
    };
    for query in queries {
        let name = query["EntityName"].as_str().unwrap_or_default();
        let Some(table) = operation.schema().by_logical(name) else {
            return Err(ApiError::payload("", "EntityName names no table."));
        };
        for id in ids(table, query)? {
            operation.spend(|costs| costs.multiple_row);
            if transaction.store().row(table, id).is_some() {
                service::delete(transaction, &operation.save(), table, id)?;
            }
        }
    }
    let context = format!(
        "{}/$metadata#Microsoft.Dynamics.CRM.BulkDeleteResponse",
        operation.root()
    );
    let body = json!({"@odata.context": context, "JobId": Uuid::new_v4()});
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

/// The ids of `<primary key> In (…)`, the one condition that is played.
fn ids(table: &Table, query: &Value) -> Result<Vec<Uuid>, ApiError> {
    let conditions = query["Criteria"]["Conditions"].as_array();
    let condition = match conditions.map(Vec::as_slice) {
        Some([one]) if one["AttributeName"] == table.primary_key && one["Operator"] == "In" => one,
        _ => return Err(ApiError::not_played("bulk delete by anything but row ids")),
    };
    let values = condition["Values"].as_array().map(Vec::as_slice);
    let ids = values.unwrap_or_default().iter().map(|value| {
        let id = value["Value"]
            .as_str()
            .and_then(|id| Uuid::parse_str(id).ok());
        id.ok_or_else(|| ApiError::payload(table.set, "Each value must be a row id."))
    });
    ids.collect()
}
