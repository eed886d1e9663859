//! From a row to the target's payload. Pure: the same row gives the same payload, and the same hash,
//! whenever and wherever it is mapped.
//!
//! A failure names the column, the field and the fix. It says what the column holds only where
//! `logColumns` allows that.

mod expression;
mod money;
mod row;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

pub use expression::{ExpressionError, Program};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{ColumnPath, Field, Form, NullPolicy, TableConfig};
use crate::exact;
use crate::failure::{Class, Failure, Stage};
use row::Row;
use value::Unfit;

/// What the target is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// The JSON object.
    pub body: Map<String, Value>,
    /// SHA-256 of the serialised object, hex.
    pub hash: String,
}

/// Reads a row as the Web API answers it, with every digit of its amounts.
///
/// # Errors
/// When it is not a JSON object.
pub fn read_row(json: &[u8]) -> serde_json::Result<Map<String, Value>> {
    match exact::from_slice(json)? {
        Value::Object(columns) => Ok(columns),
        _ => Err(serde::de::Error::custom("is no JSON object")),
    }
}

/// Maps the selected columns of a row. A column behind a lookup that leads nowhere is null.
///
/// # Errors
/// - Class config: a selected column did not come back, or holds another type than its field takes.
///   Retrying the row cannot help; repairing the app does.
/// - Class permanent: this row has no place in the payload, e.g. an option that is not translated.
pub fn map(table: &TableConfig, columns: &Map<String, Value>) -> Result<Payload, Failure> {
    let row = Row { table, columns };
    let body = object(&row, &table.fields, "")?;
    Ok(Payload {
        hash: hash(&body),
        body,
    })
}

/// Whether the target holds every row that this one requires, as far as they are acknowledged.
///
/// # Errors
/// A failure of class [`Class::Waiting`] that names the lookup; config when its column did not come back.
pub fn required(table: &TableConfig, columns: &Map<String, Value>) -> Result<(), Failure> {
    let row = Row { table, columns };
    for requirement in &table.requires {
        let (navigation, column) = (&requirement.navigation, &requirement.target_id);
        let Some(parent) = columns.get(navigation) else {
            return Err(row.missing(navigation, "requires"));
        };
        if parent.is_null() {
            continue;
        }
        match parent.get(column) {
            None => return Err(row.missing(&format!("{navigation}/{column}"), "requires")),
            Some(Value::Null) => {
                let text = format!(
                    "The {} that {navigation} of this {} leads to has no {column} yet: the target must hold it first. This message waits; if that row never travels, save it, or correct why it is rejected.",
                    requirement.table, table.name
                );
                return Err(Failure::new(
                    Class::Waiting,
                    Stage::Map,
                    "ParentNotAcknowledged",
                    text,
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn object(
    row: &Row<'_>,
    fields: &BTreeMap<String, Field>,
    above: &str,
) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    for (member, field) in fields {
        let path = format!("{above}{member}");
        if let Some(value) = field_value(row, field, &path)? {
            body.insert(member.clone(), value);
        }
    }
    Ok(body)
}

/// The member's value; `None` leaves it out.
fn field_value(row: &Row<'_>, field: &Field, path: &str) -> Result<Option<Value>, Failure> {
    match field {
        Field::Constant(value) => Ok(Some(value.clone())),
        Field::Object(members) => {
            object(row, members, &format!("{path}.object.")).map(|body| Some(Value::Object(body)))
        }
        Field::Column {
            column,
            form,
            if_null,
        } => {
            let value = row.column(column, path)?;
            if value.is_null() {
                let what = format!("Column {}", column.as_str());
                return row.null(if_null.as_ref(), path, &what);
            }
            formed(row, column, form, value, path).map(Some)
        }
        Field::Expression {
            program,
            reads,
            if_null,
        } => match computed(row, program, reads, path)? {
            Some(Value::Null) => row.null(if_null.as_ref(), path, "What the expression gave"),
            computed => Ok(computed),
        },
    }
}

fn formed(
    row: &Row<'_>,
    column: &ColumnPath,
    form: &Form,
    value: &Value,
    path: &str,
) -> Result<Value, Failure> {
    let written = match form {
        Form::Same if exact::digits(value).is_some() => Err(Unfit::Inexact),
        Form::Same => return Ok(value.clone()),
        Form::Options(translation) => value::option(translation, value),
        Form::MultiSelect(translation) => value::options(translation, value),
        Form::Money(format) => money::write(*format, value),
        Form::Date(format) => value::date(format, value),
    };
    written.map_err(|unfit| row.unfit(column, &unfit, value, path))
}

fn computed(
    row: &Row<'_>,
    program: &Program,
    reads: &[ColumnPath],
    path: &str,
) -> Result<Option<Value>, Failure> {
    let mut input = Map::new();
    for column in reads {
        let value = row.column(column, path)?;
        input.insert(column.as_str().to_owned(), value.clone());
    }
    program
        .run(&Value::Object(input))
        .map_err(|e| row.not_computed(e, path))
}

fn hash(body: &Map<String, Value>) -> String {
    // Writing a map of JSON values to memory cannot fail; the text is stable because the members are
    // inserted in the order of their names, and an expression's in the order it makes them.
    let text = Value::Object(body.clone()).to_string();
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

impl NullPolicy {
    /// What a null becomes; `None` leaves the member out.
    fn apply(&self) -> Result<Option<Value>, NullRejected> {
        match self {
            Self::Null => Ok(Some(Value::Null)),
            Self::Omit => Ok(None),
            Self::Value(value) => Ok(Some(value.clone())),
            Self::Reject => Err(NullRejected),
        }
    }
}

struct NullRejected;
