//! A row while it is mapped: its columns, and what is said when one does not fit.

use serde_json::{Map, Value};

use super::expression::ExpressionError;
use super::value::Unfit;
use crate::config::{ColumnPath, NullPolicy, Reads, TableConfig};
use crate::failure::{Failure, Stage};

pub(super) struct Row<'a> {
    pub(super) table: &'a TableConfig,
    pub(super) columns: &'a Map<String, Value>,
}

impl<'a> Row<'a> {
    /// A column's value. `path` is the field that asks.
    pub(super) fn column(&self, column: &ColumnPath, path: &str) -> Result<&'a Value, Failure> {
        let found = match column.reads() {
            Reads::Own(name) => self.columns.get(name),
            Reads::Related { navigation, column } => match self.columns.get(navigation) {
                Some(Value::Null) => Some(&Value::Null),
                Some(row) => row.get(column),
                None => None,
            },
        };
        found.ok_or_else(|| self.missing(column.as_str(), &format!("fields.{path}")))
    }

    /// A column that was asked for and did not come back.
    pub(super) fn missing(&self, column: &str, key: &str) -> Failure {
        let table = &self.table.name;
        Failure::config(
            Stage::Map,
            "ColumnMissing",
            format!(
                "Dataverse did not return column {column} of {table}. Check tables.{table}.{key} in sync.json and the read right of the app user on that column."
            ),
        )
    }

    /// What a null becomes.
    pub(super) fn null(
        &self,
        policy: Option<&NullPolicy>,
        path: &str,
        what: &str,
    ) -> Result<Option<Value>, Failure> {
        let table = &self.table.name;
        policy.unwrap_or(&self.table.nulls).apply().map_err(|_| {
            Failure::permanent(
                Stage::Map,
                "NullRejected",
                format!(
                    "{what} of this {table} is empty, which tables.{table}.fields.{path} rejects. Fill the row in and save it, which sends it again; or change ifNull."
                ),
            )
        })
    }

    /// A value that has no place in the payload.
    pub(super) fn unfit(
        &self,
        column: &ColumnPath,
        unfit: &Unfit,
        value: &Value,
        path: &str,
    ) -> Failure {
        let (table, name) = (&self.table.name, column.as_str());
        let shown = if self.table.log_columns.iter().any(|c| c == name) {
            format!(" ({value})")
        } else {
            String::new()
        };
        let key = format!("tables.{table}.fields.{path}");
        let text = |problem: &str| format!("Column {name} of this {table} {problem}{shown}.");
        match unfit {
            Unfit::UnknownOption { key: form } => Failure::permanent(
                Stage::Map,
                "UnknownOption",
                format!(
                    "{} Add that value to {key}.{form}, or give {key} a default; then resend the message.",
                    text(&format!("holds an option that {key}.{form} does not know"))
                ),
            ),
            Unfit::Digits => Failure::permanent(
                Stage::Map,
                "TooManyDigits",
                format!(
                    "{} Raise {key}.money.decimals, or give it a rounding, e.g. \"halfEven\"; then resend the message.",
                    text("has more digits after the point than its field")
                ),
            ),
            Unfit::Inexact => Failure::permanent(
                Stage::Map,
                "InexactNumber",
                format!(
                    "{} Map it with {key}.money as \"string\" or \"minorUnits\"; then resend the message.",
                    text("has more digits than a number in JSON carries safely")
                ),
            ),
            Unfit::Date => Failure::permanent(
                Stage::Map,
                "UnwritableDate",
                format!(
                    "{} Check the format {key}.date, and the row.",
                    text("holds a time that its format cannot write")
                ),
            ),
            Unfit::Type { expected } => Failure::config(
                Stage::Map,
                "WrongColumnType",
                format!(
                    "Column {name} of {table} is no {expected}. Check {key} in sync.json against the column's type."
                ),
            ),
        }
    }

    /// An expression that gave no value.
    pub(super) fn not_computed(&self, error: ExpressionError, path: &str) -> Failure {
        let table = &self.table.name;
        Failure::permanent(
            Stage::Map,
            "ExpressionFailed",
            format!(
                "The expression of tables.{table}.fields.{path} {error} for this {table}. Make it fit such rows, e.g. with //, then resend the message; or correct the row and save it."
            ),
        )
    }
}
