//! `EntityDefinitions`: as much metadata as a start-up check asks for.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::dispatch::Operation;
use super::message::ApiResponse;
use crate::dataverse::cell::Cell;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::filter::Filter;
use crate::dataverse::odata::path::{RowKey, Segment};
use crate::dataverse::schema::{Column, Kind, Table};

pub(super) fn answer(
    operation: &Operation<'_>,
    first: &Segment,
    rest: &[Segment],
) -> Result<ApiResponse, ApiError> {
    let Some(key) = &first.key else {
        let all = operation.schema().tables.iter().map(definition);
        return list(operation, "EntityDefinitions", all.collect());
    };
    let found = operation.schema().tables.iter().find(|table| match key {
        RowKey::Id(id) => metadata_id(table.logical) == *id,
        RowKey::Alternate(parts) => {
            parts.as_slice() == [("LogicalName".to_owned(), json!(table.logical))]
        }
    });
    let Some(table) = found else {
        return Err(ApiError {
            status: 404,
            code: "0x80060888",
            message: "Could not find an entity with the specified name or MetadataId.".to_owned(),
        });
    };
    let name = match key {
        RowKey::Id(id) => format!("EntityDefinitions({id})"),
        RowKey::Alternate(_) => format!("EntityDefinitions(LogicalName='{}')", table.logical),
    };
    let rest: Vec<&str> = rest.iter().map(|segment| segment.name.as_str()).collect();
    let attributes = || table.columns.iter().map(|column| attribute(table, column));
    match rest.as_slice() {
        [] => single(operation, &definition(table)),
        ["Attributes"] => list(
            operation,
            &format!("{name}/Attributes"),
            attributes().collect(),
        ),
        ["Attributes", cast] => {
            let wanted = format!("#{cast}");
            let of_type = attributes().filter(|one| one["@odata.type"] == wanted);
            list(
                operation,
                &format!("{name}/Attributes/{cast}"),
                of_type.collect(),
            )
        }
        ["Keys"] => list(operation, &format!("{name}/Keys"), keys(table)),
        ["ManyToOneRelationships"] => {
            let relations = relations(operation, table);
            list(
                operation,
                &format!("{name}/ManyToOneRelationships"),
                relations,
            )
        }
        [other, ..] => Err(ApiError::unknown_segment(other)),
    }
}

fn metadata_id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

fn definition(table: &Table) -> Value {
    json!({
        "MetadataId": metadata_id(table.logical),
        "LogicalName": table.logical,
        "SchemaName": table.schema_name,
        "EntitySetName": table.set,
        "PrimaryIdAttribute": table.primary_key,
        "PrimaryNameAttribute": table.primary_name,
        "IsOptimisticConcurrencyEnabled": true,
        "ChangeTrackingEnabled": true,
        "IsCustomEntity": Table::is_own_column(table.logical),
        "IsPrivate": false,
        "TableType": "Standard",
    })
}

fn attribute(table: &Table, column: &Column) -> Value {
    let (kind, type_name, cast) = match column.kind {
        Kind::PrimaryKey => ("Uniqueidentifier", "UniqueidentifierType", ""),
        Kind::Version => ("BigInt", "BigIntType", "BigInt"),
        Kind::Text(_) => ("String", "StringType", "String"),
        Kind::Memo(_) => ("Memo", "MemoType", "Memo"),
        Kind::Whole => ("Integer", "IntegerType", "Integer"),
        Kind::Money => ("Money", "MoneyType", "Money"),
        Kind::Bool => ("Boolean", "BooleanType", "Boolean"),
        Kind::Choice(_) => ("Picklist", "PicklistType", "Picklist"),
        Kind::State(_) => ("State", "StateType", "State"),
        Kind::Status(_) => ("Status", "StatusType", "Status"),
        Kind::Time => ("DateTime", "DateTimeType", "DateTime"),
        Kind::Lookup if column.name == "parentcustomerid" => ("Customer", "CustomerType", "Lookup"),
        Kind::Lookup => ("Lookup", "LookupType", "Lookup"),
    };
    let is_key = column.kind == Kind::PrimaryKey;
    let mut attribute = json!({
        "@odata.type": format!("#Microsoft.Dynamics.CRM.{cast}AttributeMetadata"),
        "MetadataId": metadata_id(&format!("{}.{}", table.logical, column.name)),
        "LogicalName": column.name,
        "SchemaName": column.name,
        "EntityLogicalName": table.logical,
        "AttributeType": kind,
        "AttributeTypeName": {"Value": type_name},
        "IsPrimaryId": is_key,
        "IsPrimaryName": column.name == table.primary_name,
        "IsCustomAttribute": Table::is_own_column(column.name),
        "IsValidForRead": true,
        "IsValidForCreate": column.writable || is_key,
        "IsValidForUpdate": column.writable,
        "IsLogical": false,
        "AttributeOf": null,
    });
    match column.kind {
        Kind::Text(max) | Kind::Memo(max) => attribute["MaxLength"] = json!(max),
        Kind::Choice(values) | Kind::State(values) | Kind::Status(values) => {
            let options: Vec<Value> = values.iter().map(|value| json!({"Value": value})).collect();
            attribute["OptionSet"] = json!({"Options": options});
        }
        Kind::Lookup => {
            let targets = table.navigations.iter();
            let targets = targets.filter(|nav| nav.column == column.name);
            let targets: Vec<_> = targets.map(|nav| nav.target).collect();
            attribute["Targets"] = json!(targets);
        }
        _ => {}
    }
    attribute
}

fn keys(table: &Table) -> Vec<Value> {
    let keys = table.keys.iter();
    keys.map(|key| {
        json!({
            "MetadataId": metadata_id(&format!("{} key {}", table.logical, key.name)),
            "LogicalName": key.name,
            "SchemaName": key.name,
            "EntityLogicalName": table.logical,
            "KeyAttributes": key.columns,
            "EntityKeyIndexStatus": "Active",
        })
    })
    .collect()
}

fn relations(operation: &Operation<'_>, table: &Table) -> Vec<Value> {
    let navigations = table.navigations.iter();
    navigations
        .map(|navigation| {
            let target = operation.schema().by_logical(navigation.target);
            let schema_name = format!("{}_{}", table.logical, navigation.name);
            json!({
                "MetadataId": metadata_id(&schema_name),
                "SchemaName": schema_name,
                "ReferencingEntity": table.logical,
                "ReferencingAttribute": navigation.column,
                "ReferencingEntityNavigationPropertyName": navigation.name,
                "ReferencedEntity": navigation.target,
                "ReferencedAttribute": target.map(|target| target.primary_key),
            })
        })
        .collect()
}

fn single(operation: &Operation<'_>, document: &Value) -> Result<ApiResponse, ApiError> {
    operation.options.only(&["$select"])?;
    let mut body = Map::new();
    let context = format!("{}/$metadata#EntityDefinitions/$entity", operation.root());
    body.insert("@odata.context".to_owned(), json!(context));
    body.extend(selected(document, operation.options.get("$select"))?);
    Ok(ApiResponse::json(StatusCode::OK, &Value::Object(body)))
}

fn list(
    operation: &Operation<'_>,
    name: &str,
    documents: Vec<Value>,
) -> Result<ApiResponse, ApiError> {
    let options = &operation.options;
    options.only(&["$select", "$filter", "$expand"])?;
    // Option sets come along unasked here; asking for them is the only $expand there is.
    let expand = options.get("$expand").unwrap_or("OptionSet");
    if !expand.starts_with("OptionSet") {
        return Err(ApiError::not_played("this $expand of metadata"));
    }
    let expanded = options.get("$expand").map(|_| "OptionSet");
    let select = options.get("$select");
    let select = select.map(|select| [Some(select), expanded].into_iter().flatten());
    let select = select.map(|select| select.collect::<Vec<_>>().join(","));
    let filter = options.get("$filter").map(Filter::parse).transpose()?;
    if let Some(mut filter) = filter.clone() {
        filter.typed(&|name, literal, _| match documents.first() {
            Some(first) if first.get(name.as_str()).is_none() => Err(unknown(name)),
            _ => Ok(literal.clone()),
        })?;
    }
    let keeps = |document: &&Value| match &filter {
        None => true,
        Some(filter) => filter.holds(&|name| Cow::Owned(to_cell(&document[name]))),
    };
    let values = documents.iter().filter(keeps);
    let values = values.map(|document| selected(document, select.as_deref()));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let context = format!("{}/$metadata#{name}", operation.root());
    let body = json!({"@odata.context": context, "value": values});
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

fn selected(document: &Value, select: Option<&str>) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(document) = document else {
        return Ok(Map::new());
    };
    let Some(select) = select else {
        return Ok(document.clone());
    };
    let always = ["@odata.type", "MetadataId"].into_iter();
    let always = always.filter(|name| document.contains_key(*name));
    let mut kept = Map::new();
    for name in always.chain(select.split(',').map(str::trim)) {
        let Some(value) = document.get(name) else {
            return Err(unknown(name));
        };
        kept.insert(name.to_owned(), value.clone());
    }
    Ok(kept)
}

fn unknown(name: &str) -> ApiError {
    ApiError::unknown_column(name, "MetadataBase")
}

fn to_cell(value: &Value) -> Cell {
    match value {
        Value::Bool(value) => Cell::Bool(*value),
        Value::Number(number) => number.as_i64().map_or(Cell::Null, Cell::Int),
        Value::String(text) => match Uuid::parse_str(text) {
            Ok(id) => Cell::Guid(id),
            Err(_) => Cell::Text(text.clone()),
        },
        _ => Cell::Null,
    }
}
