//! `sdkmessageprocessingsteps`: the registered steps as rows, and what a user may do
//! (`RetrieveUserPrivilegeByPrivilegeName`): what is looked at before the sync is let loose.
//!
//! Contract: Power Apps docs, "SDK Message Processing Step (SdkMessageProcessingStep) table/entity
//! reference" and "RetrieveUserPrivilegeByPrivilegeName function".

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dispatch::Operation;
use super::message::ApiResponse;
use super::metadata;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::path::{RowKey, Segment};
use crate::dataverse::steps::ListedStep;

/// The collection, with `$select` and `$filter`, also by `sdkmessageid/name` and
/// `sdkmessagefilterid/primaryobjecttypecode`.
pub(super) fn steps(operation: &Operation<'_>) -> Result<ApiResponse, ApiError> {
    if operation.options.get("$select").is_none() {
        return Err(ApiError::not_played("steps without $select"));
    }
    let own = operation.state.steps.listed();
    let further = operation.state.further_steps().clone();
    let documents = own.chain(further).map(|step| row(&step));
    metadata::list(operation, "sdkmessageprocessingsteps", documents.collect())
}

fn row(step: &ListedStep) -> Value {
    json!({
        "sdkmessageprocessingstepid": Uuid::new_v5(&Uuid::NAMESPACE_OID, step.name.as_bytes()),
        "name": step.name,
        "filteringattributes": step.filtering_attributes,
        // 0: enabled.
        "statecode": 0,
        // Post-operation, in the transaction.
        "stage": 40,
        "mode": 0,
        "sdkmessageid/name": "Update",
        "sdkmessagefilterid/primaryobjecttypecode": step.table,
    })
}

/// `systemusers({id})/Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName(PrivilegeName='…')`,
/// of the caller.
pub(super) fn privilege(
    operation: &Operation<'_>,
    first: &Segment,
    rest: &[Segment],
) -> Result<ApiResponse, ApiError> {
    let asked = match rest {
        [function] if function.name == FUNCTION => &function.key,
        _ => return Err(ApiError::not_played("this query of users")),
    };
    let Some(RowKey::Alternate(parameters)) = asked else {
        return Err(ApiError::bad_request(
            "The parameter PrivilegeName is missing.",
        ));
    };
    let name = match parameters.as_slice() {
        [(parameter, Value::String(name))] if parameter == "PrivilegeName" => name,
        _ => {
            return Err(ApiError::bad_request(
                "The parameter PrivilegeName is missing.",
            ));
        }
    };
    let context = operation.context;
    if first.key != Some(RowKey::Id(context.user_id)) {
        return Err(ApiError::not_played("privileges of other users"));
    }
    let depth = operation.state.users().depth(&context.identity, name);
    let held: Vec<Value> = depth
        .into_iter()
        .map(|depth| {
            json!({
                "Depth": depth,
                "PrivilegeId": Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
                "BusinessUnitId": Uuid::new_v5(&Uuid::NAMESPACE_URL, b"local business unit"),
                "PrivilegeName": name,
            })
        })
        .collect();
    let body = json!({
        "@odata.context": format!(
            "{}/$metadata#Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeNameResponse",
            operation.root()
        ),
        "RolePrivileges": held,
    });
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

const FUNCTION: &str = "Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName";
