//! Reading one row or one value, and the shape rows have in answers.

use http::{HeaderName, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::annotation::Annotations;
use super::dispatch::Operation;
use super::message::ApiResponse;
use crate::dataverse::cell::Cell;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::options::{Expand, expand, select};
use crate::dataverse::odata::path::RowKey;
use crate::dataverse::payload::find;
use crate::dataverse::schema::{Kind, Table};
use crate::dataverse::store::{Row, Store};

/// What of a row is returned.
pub(super) struct Shape<'a> {
    table: &'a Table,
    columns: Vec<usize>,
    expands: Vec<Expand<'a>>,
    pub(super) annotations: Annotations,
}

impl<'a> Shape<'a> {
    pub(super) fn of(operation: &'a Operation<'_>, table: &'a Table) -> Result<Self, ApiError> {
        Ok(Self {
            table,
            columns: select(table, operation.options.get("$select"))?,
            expands: expand(operation.schema(), table, operation.options.get("$expand"))?,
            annotations: Annotations::of(&operation.request.headers),
        })
    }

    /// What `@odata.context` says of the columns: `(name,primarycontactid(fullname))`.
    pub(super) fn names(&self, selected: bool) -> String {
        let mut names = Vec::new();
        if selected {
            names.extend(self.columns.iter().map(|c| self.table.property_name(*c)));
        }
        names.extend(self.expands.iter().map(|expand| {
            let columns = expand.columns.iter();
            let columns: Vec<_> = columns.map(|c| expand.target.property_name(*c)).collect();
            let columns = match expand.selected {
                true => columns.join(","),
                false => String::new(),
            };
            format!("{}({columns})", expand.navigation.name)
        }));
        match names.is_empty() {
            true => String::new(),
            false => format!("({})", names.join(",")),
        }
    }

    pub(super) fn document(&self, store: &Store, row: &Row) -> Map<String, Value> {
        let annotate = Some((&self.annotations, store));
        let mut document = values(self.table, &self.columns, row, annotate);
        for expand in &self.expands {
            let pointer = row.get(self.table, expand.navigation.column);
            let target = match pointer {
                // A polymorphic lookup fills only the navigation property of its own table.
                Cell::Reference(table, id) if *table == expand.target.logical => {
                    store.row(expand.target, *id)
                }
                _ => None,
            };
            let inner =
                target.map(|target| values(expand.target, &expand.columns, target, annotate));
            let inner = inner.map_or(Value::Null, Value::Object);
            document.insert(expand.navigation.name.to_owned(), inner);
        }
        document
    }
}

/// The selected columns, the etag, and what comes back unasked: the primary key, and the currency
/// of a money column. Nulls are returned as null.
fn values(
    table: &Table,
    columns: &[usize],
    row: &Row,
    annotate: Option<(&Annotations, &Store)>,
) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("@odata.etag".to_owned(), json!(row.etag()));
    let mut put = |column: usize| {
        if let Some((annotations, store)) = annotate {
            annotations.add(&mut document, store, table, row, column);
        }
        let value = row.cells[column].to_json();
        document.entry(table.property_name(column)).or_insert(value);
    };
    let mut money = false;
    for column in columns {
        put(*column);
        money |= table.columns[*column].kind == Kind::Money;
    }
    let currency = table.column("transactioncurrencyid").filter(|_| money);
    for column in currency.into_iter().chain(table.column(table.primary_key)) {
        put(column);
    }
    document
}

/// A row with all its columns.
pub(in crate::dataverse) fn document(table: &Table, row: &Row) -> Map<String, Value> {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    values(table, &all, row, None)
}

pub(super) fn single(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
    key: &RowKey,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&["$select", "$expand"])?;
    let shape = Shape::of(operation, table)?;
    let row = existing(store, table, key)?;
    let known = operation.request.header("if-none-match");
    if known == Some(row.etag().as_str()) && shape.expands.is_empty() && !shape.annotations.any() {
        return Ok(ApiResponse::empty(StatusCode::NOT_MODIFIED));
    }
    Ok(represent(operation, store, &shape, row, StatusCode::OK))
}

/// A row as the body of an answer to a write.
pub(super) fn representation(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
    id: Uuid,
    status: StatusCode,
) -> Result<ApiResponse, ApiError> {
    let shape = Shape {
        table,
        columns: select(table, operation.options.get("$select"))?,
        expands: Vec::new(),
        annotations: Annotations::of(&operation.request.headers),
    };
    let row = existing(store, table, &RowKey::Id(id))?;
    let applied = HeaderName::from_static("preference-applied");
    let answer = represent(operation, store, &shape, row, status);
    let annotations = shape.annotations.applied().map(|text| format!(",{text}"));
    let preferences = format!("return=representation{}", annotations.unwrap_or_default());
    Ok(answer.with(applied, &preferences))
}

fn represent(
    operation: &Operation<'_>,
    store: &Store,
    shape: &Shape<'_>,
    row: &Row,
    status: StatusCode,
) -> ApiResponse {
    let names = shape.names(operation.options.get("$select").is_some());
    let set = shape.table.set;
    let context = format!("{}/$metadata#{set}{names}/$entity", operation.root());
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), json!(context));
    body.extend(shape.document(store, row));
    let answer = ApiResponse::json(status, &Value::Object(body));
    match shape.annotations.applied() {
        None => answer,
        Some(applied) => answer.with(HeaderName::from_static("preference-applied"), &applied),
    }
}

pub(super) fn existing<'a>(
    store: &'a Store,
    table: &Table,
    key: &RowKey,
) -> Result<&'a Row, ApiError> {
    let id = find(table, key, store)?;
    let row = store.row(table, id);
    row.ok_or_else(|| ApiError::row_missing(table.logical, id))
}
