//! The platform's own event: `RemoteExecutionContext` as JSON, for a Service Bus endpoint.
//!
//! Contract: "Write a listener application for a Microsoft Azure solution", "Azure integration" and
//! "Use webhooks" (Power Apps docs), whose sample is followed member by member. It comes from .NET's
//! `DataContractJsonSerializer`: `__type` first, times as `/Date(ms)/`, slashes escaped.

use bytes::Bytes;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cell::Cell;
use super::journal::Operation;
use super::payload::Payload;
use super::posting::OutboundNotification;
use super::schema::{Kind, Table};
use super::service::Save;
use super::store::Row;

/// Above this size the context is sent without its columns.
const LARGEST: usize = 192 * 1024;
const CLAIMS: &str = "http://schemas.microsoft.com/xrm/2011/Claims/";
const CONTRACTS: &str = "http://schemas.microsoft.com/xrm/2011/Contracts";
const ORGANIZATION: &str = "local";

/// What an event is about.
pub(super) struct Event<'a> {
    /// Names the system job, and is the same whenever that job posts again.
    pub(super) operation_id: Uuid,
    pub(super) save: &'a Save<'a>,
    pub(super) table: &'a Table,
    pub(super) row: &'a Row,
    pub(super) operation: Operation,
    pub(super) payload: &'a Payload,
    /// Columns of the pre-image of a delete.
    pub(super) delete_image: &'a [String],
}

impl Event<'_> {
    /// The message of the endpoint; `None` when it is too large even without its columns.
    pub(super) fn message(&self) -> Option<OutboundNotification> {
        let mut context = self.context();
        let mut body = serialize(&context);
        let stripped = body.len() > LARGEST;
        if stripped {
            for name in [
                "ParentContext",
                "InputParameters",
                "PreEntityImages",
                "PostEntityImages",
            ] {
                context[name] = Value::Null;
            }
            body = serialize(&context);
        }
        if body.len() > LARGEST {
            return None;
        }
        let user = self.save.user_id.to_string();
        let claims = [
            ("Organization", ORGANIZATION),
            ("User", &user),
            ("InitiatingUser", &user),
            ("EntityLogicalName", self.table.logical),
            ("RequestName", self.message_name()),
        ];
        let size = stripped.then_some(("MessageMaxSizeExceeded", "True"));
        let claims = claims.into_iter().chain(size);
        Some(OutboundNotification {
            message_id: Uuid::new_v4().to_string(),
            correlation_id: self.save.correlation_id.to_string(),
            table: self.table.logical.to_owned(),
            traceparent: self.save.traceparent.clone(),
            properties: claims
                .map(|(name, value)| (format!("{CLAIMS}{name}"), value.to_owned()))
                .collect(),
            body,
        })
    }

    fn message_name(&self) -> &'static str {
        match self.operation {
            Operation::Create => "Create",
            Operation::Update => "Update",
            Operation::Delete => "Delete",
        }
    }

    fn context(&self) -> Value {
        let (save, row, logical) = (self.save, self.row, self.table.logical);
        let id = |name: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
        let name = self.message_name();
        let mut shared = vec![json!({"key": "ChangedEntityTypes", "value": [{
            "__type": "KeyValuePairOfstringstring:#System.Collections.Generic",
            "key": logical,
            "value": name,
        }]})];
        if let Some(tag) = &save.tag {
            shared.insert(0, json!({"key": "tag", "value": tag}));
        }
        let output = match self.operation {
            Operation::Create => vec![json!({"key": "id", "value": row.id})],
            _ => Vec::new(),
        };
        let (before, after) = self.images();
        json!({
            "BusinessUnitId": id("local business unit"),
            "CorrelationId": save.correlation_id,
            "Depth": 1,
            "InitiatingUserAzureActiveDirectoryObjectId": Uuid::nil(),
            "InitiatingUserId": save.user_id,
            "InputParameters": [{"key": "Target", "value": self.target()}],
            "IsExecutingOffline": false,
            "IsInTransaction": false,
            "IsOfflinePlayback": false,
            "IsolationMode": 1,
            "MessageName": name,
            "Mode": 1,
            "OperationCreatedOn": format!("/Date({}+0000)/", milliseconds(save.now)),
            "OperationId": self.operation_id,
            "OrganizationId": id("local organization"),
            "OrganizationName": ORGANIZATION,
            "OutputParameters": output,
            "OwningExtension": reference("sdkmessageprocessingstep", id(&format!("{logical} {name}"))),
            "ParentContext": null,
            "PostEntityImages": after,
            "PreEntityImages": before,
            "PrimaryEntityId": row.id,
            "PrimaryEntityName": logical,
            "RequestId": null,
            "SecondaryEntityName": "none",
            "SharedVariables": shared,
            "Stage": 40,
            "UserAzureActiveDirectoryObjectId": Uuid::nil(),
            "UserId": save.user_id,
        })
    }

    /// The row as it was sent, or for a delete a pointer at it.
    fn target(&self) -> Value {
        if self.operation == Operation::Delete {
            return typed(
                "EntityReference",
                reference(self.table.logical, self.row.id),
            );
        }
        let sent = self.payload.cells.iter().map(|(column, _)| *column);
        // What the platform adds: the key and the time always, the state on create.
        let added: &[&str] = match self.operation {
            Operation::Create => &["createdon", "modifiedon", "statecode", "statuscode"],
            _ => &["modifiedon"],
        };
        let added = [self.table.primary_key]
            .into_iter()
            .chain(added.iter().copied());
        let added = added.filter_map(|name| self.table.column(name));
        let mut columns: Vec<usize> = Vec::new();
        for column in sent.chain(added) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        typed("Entity", self.entity(&columns))
    }

    fn images(&self) -> (Vec<Value>, Vec<Value>) {
        let image = |key: &str, names: &[&str]| {
            let columns = names.iter().filter_map(|name| self.table.column(name));
            json!({"key": key, "value": self.entity(&columns.collect::<Vec<_>>())})
        };
        if self.operation == Operation::Delete {
            let names = self.delete_image.iter().map(String::as_str);
            let names: Vec<&str> = names.chain([self.table.primary_key]).collect();
            return (vec![image("PreImage", &names)], Vec::new());
        }
        let names = [self.table.primary_name, self.table.primary_key];
        (
            Vec::new(),
            vec![image("AsynchronousStepPrimaryName", &names)],
        )
    }

    fn entity(&self, columns: &[usize]) -> Value {
        let attributes = columns.iter().map(|column| {
            let described = &self.table.columns[*column];
            let value = attribute(described.kind, &self.row.cells[*column]);
            json!({"key": described.name, "value": value})
        });
        json!({
            "Attributes": attributes.collect::<Vec<_>>(),
            "EntityState": null,
            "FormattedValues": [],
            "Id": self.row.id,
            "KeyAttributes": [],
            "LogicalName": self.table.logical,
            "RelatedEntities": [],
            "RowVersion": null,
        })
    }
}

fn attribute(kind: Kind, cell: &Cell) -> Value {
    match (kind, cell) {
        (_, Cell::Null) => Value::Null,
        (Kind::Choice(_) | Kind::State(_) | Kind::Status(_), cell) => {
            typed("OptionSetValue", json!({"Value": cell.to_json()}))
        }
        (Kind::Choices(_), Cell::Text(values)) => {
            let values = values.split(',').filter_map(|v| v.parse::<i64>().ok());
            let values = values.map(|value| typed("OptionSetValue", json!({"Value": value})));
            Value::Array(values.collect())
        }
        (Kind::Money, cell) => typed("Money", json!({"Value": cell.to_json()})),
        (_, Cell::Time(at)) => json!(format!("/Date({})/", milliseconds(*at))),
        (_, Cell::Reference(table, id)) => typed("EntityReference", reference(table, *id)),
        (_, cell) => cell.to_json(),
    }
}

fn reference(table: &str, id: Uuid) -> Value {
    json!({"Id": id, "KeyAttributes": [], "LogicalName": table, "Name": null, "RowVersion": null})
}

/// A value with its .NET type before everything else.
fn typed(name: &str, value: Value) -> Value {
    let mut typed = json!({"__type": format!("{name}:{CONTRACTS}")});
    if let (Some(typed), Value::Object(value)) = (typed.as_object_mut(), value) {
        typed.extend(value);
    }
    typed
}

fn milliseconds(at: OffsetDateTime) -> i128 {
    at.unix_timestamp_nanos() / 1_000_000
}

/// The serializer escapes slashes; they stand in texts only.
fn serialize(context: &Value) -> Bytes {
    context.to_string().replace('/', "\\/").into()
}
