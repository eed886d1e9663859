//! From a JSON body to typed column values, with the complaints Dataverse has.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::cell::{Cell, parse_time};
use super::error::ApiError;
use super::odata::path::{RowKey, parse_reference};
use super::schema::{Kind, Navigation, Table};
use super::store::Store;

/// The columns a request sets, in the order of its body.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Payload {
    pub(super) cells: Vec<(usize, Cell)>,
    /// A primary key in the body, which counts on create only.
    pub(super) id: Option<Uuid>,
}

impl Payload {
    /// Reads a body for `table`; lookups are resolved against `store`.
    pub(super) fn parse(
        table: &Table,
        body: &Map<String, Value>,
        store: &Store,
    ) -> Result<Self, ApiError> {
        let mut payload = Self::default();
        for (name, value) in body {
            if let Some(navigation) = name.strip_suffix("@odata.bind") {
                payload.cells.push(bind(table, navigation, value, store)?);
                continue;
            }
            if name.contains('@') {
                // Annotations, such as @odata.type, say nothing that is stored.
                continue;
            }
            if let Some(navigation) = table.navigation(name).filter(|_| value.is_null()) {
                payload.cells.push(lookup(table, navigation, Cell::Null)?);
                continue;
            }
            let Some(index) = table.property(name) else {
                return Err(ApiError::undeclared_property(
                    table.set,
                    name,
                    table.logical,
                ));
            };
            let column = &table.columns[index];
            if column.kind == Kind::Lookup {
                return Err(ApiError::payload(
                    table.set,
                    "CRM do not support direct update of Entity Reference properties, Use \
                     Navigation properties instead.",
                ));
            }
            let cell = cell(table, index, value)?;
            match (column.kind, &cell) {
                (Kind::PrimaryKey, Cell::Guid(id)) => payload.id = Some(*id),
                _ if column.writable => payload.cells.push((index, cell)),
                _ => {}
            }
        }
        Ok(payload)
    }

    /// Whether a column is in the body, changed or not.
    pub(super) fn names<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'static str> + 'a {
        self.cells
            .iter()
            .map(|(index, _)| table.columns[*index].name)
    }
}

/// Reads one value for one column.
pub(super) fn cell(table: &Table, index: usize, value: &Value) -> Result<Cell, ApiError> {
    let column = &table.columns[index];
    let wrong = |edm: &str| {
        // The value itself is left out: it is row data.
        let inner = format!(
            "Cannot convert the value of '{}' to the expected target type '{edm}'.",
            column.name
        );
        Err(ApiError::payload(table.set, &inner))
    };
    let whole = |value: &Value| match value.as_i64() {
        Some(value) if i32::try_from(value).is_ok() => Some(value),
        _ => None,
    };
    if value.is_null() {
        return Ok(Cell::Null);
    }
    match column.kind {
        Kind::Text(max) | Kind::Memo(max) => match value.as_str() {
            None => wrong("Edm.String"),
            // An empty text is stored as null.
            Some("") => Ok(Cell::Null),
            Some(text) if text.chars().count() > max => {
                Err(ApiError::too_long(table.logical, column.name, max))
            }
            Some(text) => Ok(Cell::Text(text.to_owned())),
        },
        Kind::Bool => match value.as_bool() {
            Some(value) => Ok(Cell::Bool(value)),
            None => wrong("Edm.Boolean"),
        },
        Kind::Whole => match whole(value) {
            Some(value) => Ok(Cell::Int(value)),
            None => wrong("Edm.Int32"),
        },
        Kind::Choice(valid) | Kind::State(valid) | Kind::Status(valid) => match whole(value) {
            Some(value) if valid.contains(&value) => Ok(Cell::Int(value)),
            Some(value) => Err(ApiError::bad_choice(
                table.logical,
                column.name,
                value,
                valid,
            )),
            None => wrong("Edm.Int32"),
        },
        Kind::Choices(valid) => {
            let Some(text) = value.as_str() else {
                return wrong("Edm.String");
            };
            let values = text.split(',').map(|value| value.trim().parse::<i64>());
            let Ok(mut values) = values.collect::<Result<Vec<_>, _>>() else {
                return wrong("Edm.String");
            };
            if let Some(value) = values.iter().find(|value| !valid.contains(value)) {
                return Err(ApiError::bad_choice(
                    table.logical,
                    column.name,
                    *value,
                    valid,
                ));
            }
            values.sort_unstable();
            values.dedup();
            let values: Vec<_> = values.iter().map(i64::to_string).collect();
            Ok(Cell::Text(values.join(",")))
        }
        Kind::Money => match value.as_f64() {
            // Money has four decimal places.
            Some(value) => Ok(Cell::Number((value * 10_000.0).round() / 10_000.0)),
            None => wrong("Edm.Decimal"),
        },
        Kind::Time => match value.as_str().and_then(parse_time) {
            Some(at) => Ok(Cell::Time(at)),
            None => wrong("Edm.DateTimeOffset"),
        },
        Kind::Version => match value.as_i64() {
            Some(value) => Ok(Cell::Int(value)),
            None => wrong("Edm.Int64"),
        },
        Kind::PrimaryKey | Kind::Lookup => {
            match value.as_str().and_then(|id| Uuid::parse_str(id).ok()) {
                Some(id) => Ok(Cell::Guid(id)),
                None => wrong("Edm.Guid"),
            }
        }
    }
}

/// `"primarycontactid@odata.bind": "/contacts(…)"`, or null to clear the lookup.
fn bind(
    table: &Table,
    name: &str,
    value: &Value,
    store: &Store,
) -> Result<(usize, Cell), ApiError> {
    let Some(navigation) = table.navigation(name) else {
        return Err(ApiError::undeclared_property(
            table.set,
            name,
            table.logical,
        ));
    };
    let reference = match value {
        Value::Null => return lookup(table, navigation, Cell::Null),
        Value::String(reference) => reference,
        _ => {
            let inner = format!("The value of '{name}@odata.bind' must be a URL.");
            return Err(ApiError::payload(table.set, &inner));
        }
    };
    let (set, key) = parse_reference(reference)?;
    let target = store.schema.by_set(&set);
    let Some(target) = target.filter(|target| target.logical == navigation.target) else {
        let inner = format!("'{name}' points at {} rows.", navigation.target);
        return Err(ApiError::payload(table.set, &inner));
    };
    let id = find(target, &key, store)?;
    if store.row(target, id).is_none() {
        return Err(ApiError::row_missing(target.logical, id));
    }
    lookup(table, navigation, Cell::Reference(target.logical, id))
}

fn lookup(table: &Table, navigation: &Navigation, cell: Cell) -> Result<(usize, Cell), ApiError> {
    match table.column(navigation.column) {
        Some(index) => Ok((index, cell)),
        None => Err(ApiError::unknown_column(navigation.column, table.logical)),
    }
}

/// The row a key names; a row id is taken as it is, whether the row exists or not.
pub(super) fn find(table: &Table, key: &RowKey, store: &Store) -> Result<Uuid, ApiError> {
    match key {
        RowKey::Id(id) => Ok(*id),
        RowKey::Alternate(parts) => {
            let (key, values) = alternate(table, parts)?;
            store
                .by_key(table, key, &values)
                .ok_or_else(|| ApiError::key_missing(table.logical))
        }
    }
}

/// Which alternate key the named parts are, and its values in the key's order.
pub(super) fn alternate(
    table: &Table,
    parts: &[(String, Value)],
) -> Result<(usize, Vec<Cell>), ApiError> {
    for (name, _) in parts {
        if table.property(name).is_none() {
            return Err(ApiError::unknown_column(name, table.logical));
        }
    }
    let values_for = |columns: &[&str]| -> Option<Result<Vec<Cell>, ApiError>> {
        if columns.len() != parts.len() {
            return None;
        }
        let values = columns.iter().map(|column| {
            let index = table.column(column)?;
            let property = table.property_name(index);
            let (_, value) = parts.iter().find(|(name, _)| *name == property)?;
            Some(cell(table, index, value))
        });
        values.collect()
    };
    for (number, key) in table.keys.iter().enumerate() {
        if let Some(values) = values_for(key.columns) {
            return Ok((number, values?));
        }
    }
    Err(ApiError::bad_request(format!(
        "The specified key attributes are not a defined key for the {} entity",
        table.logical
    )))
}
