//! `tables.*.fields`: what each member of the payload is made of.

mod column;
mod form;

use std::collections::BTreeMap;

use serde_json::Value;
use time::format_description::OwnedFormatItem;

use super::finding::Findings;
use super::read;
use super::table::NullPolicy;
use crate::mapping::Program;
pub(super) use column::check_navigation;
pub use column::{ColumnPath, Reads};
pub(super) use form::FieldFile;
use form::{
    ColumnFile, ConstantFile, DateFile, ExpressionFile, MOST_DECIMALS, MoneyFile, MultiSelectFile,
    ObjectFile, OptionsFile,
};
pub use form::{MoneyFormat, MoneyKind, Rounding};

/// What a member of the payload is made of, checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// Always the same value.
    Constant(Value),
    /// The value of a column.
    Column {
        /// Which.
        column: ColumnPath,
        /// What becomes of it.
        form: Form,
        /// What becomes of null; `None`: what the table says.
        if_null: Option<NullPolicy>,
    },
    /// Computed from columns.
    Expression {
        /// How.
        program: Program,
        /// From which.
        reads: Vec<ColumnPath>,
        /// What becomes of a null that comes out; `None`: what the table says.
        if_null: Option<NullPolicy>,
    },
    /// An object of further fields.
    Object(BTreeMap<String, Field>),
}

/// What becomes of a column's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// It is sent as it is.
    Same,
    /// It is translated.
    Options(Translation),
    /// Each of its values is translated.
    MultiSelect(Translation),
    /// It is written as a decimal number.
    Money(MoneyFormat),
    /// It is written as a time.
    Date(DateFormat),
}

/// Values of a choice, by their number, and what they become.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The known ones.
    pub values: BTreeMap<String, Value>,
    /// All others; `None` rejects them.
    pub default: Option<Value>,
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq)]
pub enum DateFormat {
    /// `2026-03-02T09:15:30Z`.
    Rfc3339,
    /// Seconds since 1970.
    UnixSeconds,
    /// Any other.
    Custom(OwnedFormatItem),
}

/// Keys that each make a form of their own.
const FORMS: [&str; 6] = [
    "constant",
    "options",
    "multiSelect",
    "money",
    "date",
    "expression",
];

impl Field {
    /// Every column that is read, of objects too.
    #[must_use]
    pub fn columns(&self) -> Vec<&ColumnPath> {
        match self {
            Self::Constant(_) => vec![],
            Self::Column { column, .. } => vec![column],
            Self::Expression { reads, .. } => reads.iter().collect(),
            Self::Object(members) => members.values().flat_map(Self::columns).collect(),
        }
    }

    /// Whether anything in it is computed by an expression.
    #[must_use]
    pub fn computes(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Column { .. } => false,
            Self::Expression { .. } => true,
            Self::Object(members) => members.values().any(Self::computes),
        }
    }

    /// Reads and checks one field; `None` after findings.
    pub(super) fn check(json: Value, findings: &mut Findings<'_>) -> Option<Self> {
        let members = match &json {
            Value::String(column) => {
                let column = ColumnPath::check(column.clone(), findings);
                return Some(Self::column(column, Form::Same, None));
            }
            Value::Object(members) => members,
            _ => {
                findings.note(
                    "is no field, which would be a column's name, e.g. \"name\", or an object, e.g. {\"constant\": 1}",
                );
                return None;
            }
        };
        let forms: Vec<&str> = FORMS
            .into_iter()
            .chain(["object"])
            .filter(|form| members.contains_key(*form))
            .collect();
        match forms[..] {
            [] if members.contains_key("column") => {
                let file: ColumnFile = read::value(json, findings)?;
                let column = ColumnPath::check(file.column, &mut findings.below("column"));
                Some(Self::column(column, Form::Same, file.if_null))
            }
            [] => {
                findings.note(format!(
                    "is no field: it needs \"column\", or one of {}, object",
                    FORMS.join(", ")
                ));
                None
            }
            ["constant"] => {
                let file: ConstantFile = read::value(json, findings)?;
                Some(Self::Constant(file.constant))
            }
            ["object"] => {
                let file: ObjectFile = read::value(json, findings)?;
                let mut below = findings.below("object");
                members_of(file.object, &mut below).map(Self::Object)
            }
            ["options"] => {
                let file: OptionsFile = read::value(json, findings)?;
                let translation = translation(file.options, file.default, "options", findings);
                let column = ColumnPath::check(file.column, &mut findings.below("column"));
                Some(Self::column(
                    column,
                    Form::Options(translation),
                    file.if_null,
                ))
            }
            ["multiSelect"] => {
                let file: MultiSelectFile = read::value(json, findings)?;
                let translation =
                    translation(file.multi_select, file.default, "multiSelect", findings);
                let column = ColumnPath::check(file.column, &mut findings.below("column"));
                Some(Self::column(
                    column,
                    Form::MultiSelect(translation),
                    file.if_null,
                ))
            }
            ["money"] => {
                let file: MoneyFile = read::value(json, findings)?;
                if file.money.decimals > MOST_DECIMALS {
                    findings.add(
                        "money.decimals",
                        format!(
                            "is {}, but must be at most {MOST_DECIMALS}",
                            file.money.decimals
                        ),
                    );
                }
                let column = ColumnPath::check(file.column, &mut findings.below("column"));
                Some(Self::column(column, Form::Money(file.money), file.if_null))
            }
            ["date"] => {
                let file: DateFile = read::value(json, findings)?;
                let column = ColumnPath::check(file.column, &mut findings.below("column"));
                let format = date_format(&file.date, &mut findings.below("date"))?;
                Some(Self::column(column, Form::Date(format), file.if_null))
            }
            ["expression"] => {
                let file: ExpressionFile = read::value(json, findings)?;
                let mut reads = Vec::new();
                for (place, column) in file.reads.into_iter().enumerate() {
                    let mut below = findings.below(&format!("reads.{place}"));
                    reads.push(ColumnPath::check(column, &mut below));
                }
                let program = Program::compile(&file.expression)
                    .map_err(|problem| findings.add("expression", problem))
                    .ok()?;
                for column in program.columns() {
                    if !reads.iter().any(|read| read.as_str() == column) {
                        findings.add(
                            "expression",
                            format!(
                                "uses .{column}, which it does not see: add {column:?} to reads"
                            ),
                        );
                    }
                }
                Some(Self::Expression {
                    program,
                    reads,
                    if_null: file.if_null,
                })
            }
            _ => {
                findings.note(format!(
                    "has {} at once; a field has one of them",
                    forms.join(" and ")
                ));
                None
            }
        }
    }

    fn column(column: ColumnPath, form: Form, if_null: Option<NullPolicy>) -> Self {
        Self::Column {
            column,
            form,
            if_null,
        }
    }
}

/// Reads and checks the members of an object; `None` after findings.
pub(super) fn members_of(
    members: BTreeMap<String, Value>,
    findings: &mut Findings<'_>,
) -> Option<BTreeMap<String, Field>> {
    if members.is_empty() {
        findings.note("is empty: nothing would be sent");
    }
    let mut fields = Some(BTreeMap::new());
    for (member, json) in members {
        match (
            Field::check(json, &mut findings.below(&member)),
            &mut fields,
        ) {
            (Some(field), Some(fields)) => {
                fields.insert(member, field);
            }
            _ => fields = None,
        }
    }
    fields
}

fn translation(
    values: BTreeMap<String, Value>,
    default: Option<Value>,
    key: &str,
    findings: &mut Findings<'_>,
) -> Translation {
    let mut below = findings.below(key);
    if values.is_empty() {
        below.note("is empty, e.g. {\"1\": \"ACC\"}");
    }
    for value in values.keys() {
        if value.parse::<i64>().is_err() && !matches!(&**value, "true" | "false") {
            below.add(
                value,
                "is no value of a choice, which is a whole number, or true or false",
            );
        }
    }
    Translation { values, default }
}

fn date_format(text: &str, findings: &mut Findings<'_>) -> Option<DateFormat> {
    match text {
        "rfc3339" => Some(DateFormat::Rfc3339),
        "unixSeconds" => Some(DateFormat::UnixSeconds),
        _ if !text.contains('[') => {
            findings.note(format!(
                "is {text:?}, but must be \"rfc3339\", \"unixSeconds\", or a format such as \"[year]-[month]-[day]\""
            ));
            None
        }
        _ => time::format_description::parse_owned::<2>(text)
            .map(DateFormat::Custom)
            .map_err(|e| findings.note(format!("is {text:?}, which is no format: {e}")))
            .ok(),
    }
}
