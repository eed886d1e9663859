//! From a method and a path to an operation.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, json};
use uuid::Uuid;

use super::annotation::Annotations;
use super::message::{ApiRequest, ApiResponse};
use super::{
    Context, Side, bulk_delete, list, metadata, multiple, odata_version, plug_in_steps, property,
    read, track, write,
};
use crate::dataverse::State;
use crate::dataverse::error::ApiError;
use crate::dataverse::journal::RequestKind;
use crate::dataverse::odata::options::Options;
use crate::dataverse::odata::path::{self, Segment};
use crate::dataverse::protection::Costs;
use crate::dataverse::schema::{Schema, Table};
use crate::dataverse::service::Save;
use crate::dataverse::transaction::Transaction;
use crate::dataverse::users::{self, Verb};

/// Everything an operation may look at, besides the rows.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub(super) state: &'a State,
    pub(super) context: &'a Context,
    pub(super) request: &'a ApiRequest,
    pub(super) options: Options,
}

impl Operation<'_> {
    pub(super) fn schema(&self) -> &Schema {
        &self.state.schema
    }

    /// The save a write of this operation belongs to.
    pub(super) fn save(&self) -> Save<'_> {
        Save {
            now: self.context.now,
            user_id: self.context.user_id,
            correlation_id: self.context.correlation_id,
            traceparent: self.context.traceparent.clone(),
            tag: self.options.get("tag").map(str::to_owned),
            steps: &self.state.steps,
        }
    }

    /// # Errors
    /// The refusal, when the caller lacks the privilege. A user's own session has all of them.
    fn allow(&self, privilege: &str) -> Result<(), ApiError> {
        match self.context.side {
            Side::User => Ok(()),
            Side::Integration => {
                let users = self.state.users();
                users.allow(&self.context.identity, privilege)
            }
        }
    }

    /// Adds to the request's execution time.
    pub(super) fn spend(&self, cost: impl FnOnce(&Costs) -> Duration) {
        self.context.spend(cost(&self.state.costs));
    }

    /// `https://…/api/data/v9.2`.
    pub(super) fn root(&self) -> String {
        format!("{}/api/data/v9.2", self.context.url)
    }

    pub(super) fn row_url(&self, table: &Table, id: Uuid) -> String {
        format!("{}/{}({id})", self.root(), table.set)
    }
}

/// What kind of request this is, for the counters.
pub(super) fn kind(request: &ApiRequest) -> RequestKind {
    let path = request.path.as_str();
    let first = path.split(['(', '/']).next().unwrap_or_default();
    if first == "$batch" {
        return RequestKind::Batch;
    }
    if matches!(
        first,
        "" | "WhoAmI"
            | "RetrieveVersion"
            | "EntityDefinitions"
            | "RelationshipDefinitions"
            | "sdkmessageprocessingsteps"
            | "systemusers"
            | "$metadata"
    ) {
        return RequestKind::Other;
    }
    match request.method {
        Method::GET if path.contains('(') => RequestKind::GetSingle,
        Method::GET => RequestKind::GetCollection,
        Method::POST if first == "BulkDelete" => RequestKind::Action,
        Method::POST if path.contains("Microsoft.Dynamics.CRM.") => RequestKind::Action,
        Method::POST => RequestKind::Create,
        Method::PATCH | Method::PUT => RequestKind::Update,
        Method::DELETE => RequestKind::Delete,
        _ => RequestKind::Other,
    }
}

/// Runs one operation in a transaction of its own.
pub(super) fn run(state: &State, context: &Context, request: &ApiRequest) -> ApiResponse {
    let mut inner = state.inner();
    let inner = &mut *inner;
    let mut transaction = Transaction::begin(&mut inner.store);
    match run_in(&mut transaction, state, context, request) {
        Ok(response) => {
            let effects = transaction.commit();
            state.committed(&mut inner.journal, effects);
            response
        }
        Err(error) => {
            drop(transaction);
            refused(request, &error)
        }
    }
}

/// An error as the answer to one operation, with the details the request asked for.
pub(super) fn refused(request: &ApiRequest, error: &ApiError) -> ApiResponse {
    let mut body = Map::new();
    body.insert("code".to_owned(), json!(error.code));
    body.insert("message".to_owned(), json!(error.message));
    Annotations::of(&request.headers).add_details(&mut body, error.code, &error.message);
    let status = StatusCode::from_u16(error.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    odata_version(ApiResponse::json(status, &json!({"error": body})))
}

/// Runs one operation in an open transaction; on an error the caller undoes it.
pub(super) fn run_in(
    transaction: &mut Transaction<'_>,
    state: &State,
    context: &Context,
    request: &ApiRequest,
) -> Result<ApiResponse, ApiError> {
    refuse_bypass(request)?;
    let operation = Operation {
        state,
        context,
        request,
        options: Options::parse(&request.query)?,
    };
    let segments = path::segments(&request.path)?;
    context.spend(state.costs.of(kind(request)));
    answer(transaction, &operation, &segments).map(odata_version)
}

fn answer(
    transaction: &mut Transaction<'_>,
    operation: &Operation<'_>,
    segments: &[Segment],
) -> Result<ApiResponse, ApiError> {
    let method = &operation.request.method;
    let refused = || Err(ApiError::method_not_allowed(method.as_str()));
    let Some((first, rest)) = segments.split_first() else {
        return service_document(operation);
    };
    match (first.name.as_str(), method) {
        ("EntityDefinitions", &Method::GET) => return metadata::answer(operation, first, rest),
        ("RelationshipDefinitions", &Method::GET) => {
            return metadata::relationships(operation, first, rest);
        }
        ("WhoAmI", &Method::GET) => return Ok(who_am_i(operation)),
        ("RetrieveVersion", &Method::GET) => return Ok(version(operation)),
        ("sdkmessageprocessingsteps", &Method::GET) if first.key.is_none() && rest.is_empty() => {
            operation.allow("prvReadSdkMessageProcessingStep")?;
            return plug_in_steps::steps(operation);
        }
        ("systemusers", &Method::GET) => return plug_in_steps::privilege(operation, first, rest),
        ("BulkDelete", &Method::POST) => return bulk_delete::run(transaction, operation),
        ("$metadata", _) => return Err(ApiError::not_played("the $metadata document")),
        ("$batch", _) => return Err(ApiError::bad_request("Batch requests cannot be nested.")),
        _ => {}
    }
    let schema = transaction.schema();
    let Some(table) = schema.by_set(&first.name) else {
        return Err(ApiError::unknown_segment(&first.name));
    };
    let verb = verb(method, rest);
    operation.allow(&users::privilege(verb, table))?;
    let rest: Vec<&str> = rest.iter().map(|segment| segment.name.as_str()).collect();
    match (&first.key, rest.as_slice(), method) {
        (None, [], &Method::GET) if track::wanted(operation) => {
            track::answer(transaction.store(), operation, table)
        }
        (None, [], &Method::GET) => list::collection(transaction.store(), operation, table),
        (None, ["$count"], &Method::GET) => list::count(transaction.store(), operation, table),
        (None, [], &Method::POST) => write::create(transaction, operation, table),
        (None, [action], &Method::POST) => match action.strip_prefix("Microsoft.Dynamics.CRM.") {
            Some(action) => multiple::run(transaction, operation, table, action),
            None => Err(ApiError::unknown_segment(action)),
        },
        (Some(key), [], &Method::GET) => read::single(transaction.store(), operation, table, key),
        (Some(key), [], &Method::PATCH) => write::patch(transaction, operation, table, key),
        (Some(key), [], &Method::DELETE) => write::delete(transaction, operation, table, key),
        (Some(key), [name], &Method::GET) => {
            property::read(transaction.store(), operation, table, key, name)
        }
        (Some(key), [name], &Method::PUT) => {
            property::put(transaction, operation, table, key, name)
        }
        (Some(key), [name], &Method::DELETE) => {
            property::clear(transaction, operation, table, key, name)
        }
        (Some(key), [name, "$ref"], &Method::PUT) => {
            property::set_reference(transaction, operation, table, key, name)
        }
        (Some(key), [name, "$ref"], &Method::DELETE) => {
            property::clear_reference(transaction, operation, table, key, name)
        }
        (_, [] | ["$count"], _) => refused(),
        (_, [.., last], _) => Err(ApiError::unknown_segment(last)),
    }
}

/// What an operation on a table's rows does to them.
fn verb(method: &Method, rest: &[Segment]) -> Verb {
    match *method {
        Method::POST if rest.is_empty() => Verb::Create,
        Method::DELETE if rest.is_empty() => Verb::Delete,
        Method::GET => Verb::Read,
        _ => Verb::Write,
    }
}

/// A bypass that is ignored would look like one that works: refused until it is played.
fn refuse_bypass(request: &ApiRequest) -> Result<(), ApiError> {
    for name in [
        "mscrm.bypassbusinesslogicexecution",
        "mscrm.bypassbusinesslogicexecutionstepids",
        "mscrm.bypasscustompluginexecution",
    ] {
        if request.headers.contains_key(name) {
            return Err(ApiError::not_played("bypassing business logic"));
        }
    }
    Ok(())
}

fn service_document(operation: &Operation<'_>) -> Result<ApiResponse, ApiError> {
    if operation.request.method != Method::GET {
        let method = operation.request.method.as_str();
        return Err(ApiError::method_not_allowed(method));
    }
    let sets = operation.schema().tables.iter().map(|table| table.set);
    let sets: Vec<_> = sets
        .map(|set| json!({"name": set, "kind": "EntitySet", "url": set}))
        .collect();
    let body = json!({"@odata.context": format!("{}/$metadata", operation.root()), "value": sets});
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

fn who_am_i(operation: &Operation<'_>) -> ApiResponse {
    let context = format!(
        "{}/$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
        operation.root()
    );
    let id = |name: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    let body = json!({
        "@odata.context": context,
        "BusinessUnitId": id("local business unit"),
        "UserId": operation.context.user_id,
        "OrganizationId": id("local organization"),
    });
    ApiResponse::json(StatusCode::OK, &body)
}

fn version(operation: &Operation<'_>) -> ApiResponse {
    let context = format!(
        "{}/$metadata#Microsoft.Dynamics.CRM.RetrieveVersionResponse",
        operation.root()
    );
    let body = json!({"@odata.context": context, "Version": "9.2.0.0"});
    ApiResponse::json(StatusCode::OK, &body)
}
