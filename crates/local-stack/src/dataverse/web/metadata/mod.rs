//! Metadata: tables, columns, choices, keys and relationships, as far as clients ask for them.

mod describe;

use std::borrow::Cow;

use super::dispatch::Operation;
use super::message::ApiResponse;
use crate::dataverse::cell::Cell;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::filter::Filter;
use crate::dataverse::odata::path::{RowKey, Segment};
use crate::dataverse::schema::Table;
use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// `EntityDefinitions…`
pub(super) fn answer(
    operation: &Operation<'_>,
    first: &Segment,
    rest: &[Segment],
) -> Result<ApiResponse, ApiError> {
    let Some(key) = &first.key else {
        let all = operation.schema().tables.iter().map(describe::table);
        return list(operation, "EntityDefinitions", all.collect());
    };
    let tables = operation.schema().tables.iter();
    let mut found = tables.filter(|table| names(key, table.logical, table.logical));
    let Some(table) = found.next() else {
        return Err(unknown_object());
    };
    let name = match key {
        RowKey::Id(id) => format!("EntityDefinitions({id})"),
        RowKey::Alternate(_) => format!("EntityDefinitions(LogicalName='{}')", table.logical),
    };
    let Some((part, rest)) = rest.split_first() else {
        return single(operation, "EntityDefinitions", &describe::table(table));
    };
    let name = format!("{name}/{}", part.name);
    let schema = operation.schema();
    match (part.name.as_str(), &part.key) {
        ("Attributes", key) => attributes(operation, table, &name, key.as_ref(), rest),
        ("Keys", None) => list(operation, &name, describe::keys(table)),
        ("ManyToOneRelationships", None) => {
            let of = |one: &Value| one["ReferencingEntity"] == table.logical;
            list(
                operation,
                &name,
                describe::relationships(schema).filter(of).collect(),
            )
        }
        ("OneToManyRelationships", None) => {
            let of = |one: &Value| one["ReferencedEntity"] == table.logical;
            list(
                operation,
                &name,
                describe::relationships(schema).filter(of).collect(),
            )
        }
        // No table here has any.
        ("ManyToManyRelationships", None) => list(operation, &name, Vec::new()),
        (other, _) => Err(ApiError::unknown_segment(other)),
    }
}

/// `…/Attributes`, one of them, and either cast to a type.
fn attributes(
    operation: &Operation<'_>,
    table: &Table,
    name: &str,
    key: Option<&RowKey>,
    rest: &[Segment],
) -> Result<ApiResponse, ApiError> {
    let cast = match rest {
        [] => None,
        [cast] if cast.key.is_none() => Some(format!("#{}", cast.name)),
        [other, ..] => return Err(ApiError::unknown_segment(&other.name)),
    };
    let columns = table.columns.iter().filter(|column| {
        let id = format!("{}.{}", table.logical, column.name);
        key.is_none_or(|key| names(key, column.name, &id))
    });
    let of_type = |one: &Value| {
        cast.as_ref()
            .is_none_or(|cast| one["@odata.type"] == cast.as_str())
    };
    let found = columns
        .map(|column| describe::column(table, column))
        .filter(of_type);
    let mut found: Vec<Value> = found.collect();
    match key {
        None => list(operation, name, found),
        Some(_) => match found.pop() {
            Some(one) => single(operation, name, &one),
            None => Err(unknown_object()),
        },
    }
}

/// `RelationshipDefinitions…`
pub(super) fn relationships(
    operation: &Operation<'_>,
    first: &Segment,
    rest: &[Segment],
) -> Result<ApiResponse, ApiError> {
    let all = describe::relationships(operation.schema());
    let name = "RelationshipDefinitions";
    match (&first.key, rest) {
        (None, []) => list(operation, name, all.collect()),
        (None, [cast]) => {
            let cast = format!("#{}", cast.name);
            list(
                operation,
                name,
                all.filter(|one| one["@odata.type"] == cast).collect(),
            )
        }
        (Some(RowKey::Id(id)), []) => {
            let mut found = all.filter(|one| one["MetadataId"] == id.to_string());
            found
                .next()
                .map_or(Err(unknown_object()), |one| single(operation, name, &one))
        }
        _ => Err(ApiError::not_played("this query of relationships")),
    }
}

/// Whether a key names the thing with this logical name, or with the id made from `id_of`.
fn names(key: &RowKey, logical: &str, id_of: &str) -> bool {
    match key {
        RowKey::Id(id) => describe::metadata_id(id_of) == *id,
        RowKey::Alternate(parts) => {
            parts.as_slice() == [("LogicalName".to_owned(), json!(logical))]
        }
    }
}

fn unknown_object() -> ApiError {
    ApiError {
        status: 404,
        code: "0x80060888",
        message: "Could not find an entity with the specified name or MetadataId.".to_owned(),
    }
}

fn single(
    operation: &Operation<'_>,
    name: &str,
    document: &Value,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&["$select", "$expand"])?;
    let expand = Expand::of(operation)?;
    let mut body = Map::new();
    let context = format!("{}/$metadata#{name}/$entity", operation.root());
    body.insert("@odata.context".to_owned(), json!(context));
    body.extend(selected(
        document,
        operation.options.get("$select"),
        &expand,
    )?);
    Ok(ApiResponse::json(StatusCode::OK, &Value::Object(body)))
}

pub(super) fn list(
    operation: &Operation<'_>,
    name: &str,
    documents: Vec<Value>,
) -> Result<ApiResponse, ApiError> {
    let options = &operation.options;
    options.only(&["$select", "$filter", "$expand"])?;
    let expand = Expand::of(operation)?;
    let select = options.get("$select");
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
    let values = values.map(|document| selected(document, select, &expand));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let context = format!("{}/$metadata#{name}", operation.root());
    let body = json!({"@odata.context": context, "value": values});
    Ok(ApiResponse::json(StatusCode::OK, &body))
}

/// Navigation properties of metadata, which come along only when asked for.
const NAVIGATIONS: [&str; 4] = ["OptionSet", "GlobalOptionSet", "Attributes", "Keys"];

/// `$expand` of an option set, with an optional `$select`.
struct Expand(Vec<(String, Option<Vec<String>>)>);

impl Expand {
    fn of(operation: &Operation<'_>) -> Result<Self, ApiError> {
        let Some(text) = operation.options.get("$expand") else {
            return Ok(Self(Vec::new()));
        };
        let (name, inner) = text.split_once('(').unwrap_or((text, ""));
        let inner = inner.trim_end_matches(')');
        let select = inner.strip_prefix("$select=");
        if name != "OptionSet" || (select.is_none() && !inner.is_empty()) {
            return Err(ApiError::not_played("this $expand of metadata"));
        }
        let columns = select.map(|names| names.split(',').map(str::to_owned).collect());
        Ok(Self(vec![(name.to_owned(), columns)]))
    }
}

fn selected(
    document: &Value,
    select: Option<&str>,
    expand: &Expand,
) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(document) = document else {
        return Ok(Map::new());
    };
    let mut kept = match select {
        None => document.clone(),
        Some(select) => {
            let always = ["@odata.type", "MetadataId"].into_iter();
            let always = always.filter(|name| document.contains_key(*name));
            let mut kept = Map::new();
            for name in always.chain(select.split(',').map(str::trim)) {
                let value = document.get(name).ok_or_else(|| unknown(name))?;
                kept.insert(name.to_owned(), value.clone());
            }
            kept
        }
    };
    kept.retain(|name, _| !NAVIGATIONS.contains(&name.as_str()));
    for (name, columns) in &expand.0 {
        // A column of another type has no option set to expand.
        let Some(Value::Object(inner)) = document.get(name) else {
            continue;
        };
        let mut inner = inner.clone();
        if let Some(columns) = columns {
            inner.retain(|name, _| name == "MetadataId" || columns.contains(name));
        }
        kept.insert(name.clone(), Value::Object(inner));
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
