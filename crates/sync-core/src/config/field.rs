//! `tables.*.fields`: what each member of the payload is made of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use time::format_description::OwnedFormatItem;

use super::finding::Findings;
use super::read;
use super::table::{NullPolicy, is_name};
use crate::mapping::Program;

/// What a member of the payload is made of: a column's name, or an object.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "only describes the file; each form is read by itself, so that it says what it lacks"
)]
pub(super) enum FieldFile {
    /// A column of the row by its Web API name (a lookup is `_x_value`), sent as it is; or, as
    /// `primarycontactid/emailaddress1`, a column of the row that a lookup leads to. What stands before
    /// the slash is the lookup's navigation property, whose case matters.
    Column(String),
    Plain(ColumnFile),
    Constant(ConstantFile),
    Options(OptionsFile),
    MultiSelect(MultiSelectFile),
    Money(MoneyFile),
    Date(DateFile),
    Expression(ExpressionFile),
    Object(ObjectFile),
}

/// A column, sent as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ColumnFile {
    /// The column.
    #[schemars(example = &"parentcustomerid_account/name")]
    column: String,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    if_null: Option<NullPolicy>,
}

/// Always the same value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConstantFile {
    /// The value.
    #[schemars(example = &"dynamics365")]
    constant: Value,
}

/// A choice, translated value by value.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OptionsFile {
    /// The choice column; a yes/no column has the values `true` and `false`.
    #[schemars(example = &"statecode")]
    column: String,
    /// What each of its values is called in the target.
    #[schemars(example = json!({"0": "active", "1": "inactive"}))]
    options: BTreeMap<String, Value>,
    /// What a value that is not in `options` becomes. Without it such a row is rejected.
    #[serde(default, deserialize_with = "present")]
    #[schemars(example = &"other")]
    default: Option<Value>,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    if_null: Option<NullPolicy>,
}

/// A choice of several values, translated value by value into a list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MultiSelectFile {
    /// The choices column.
    #[schemars(example = &"new_languages")]
    column: String,
    /// What each of its values is called in the target.
    #[schemars(example = json!({"100": "de", "101": "en"}))]
    multi_select: BTreeMap<String, Value>,
    /// What a value that is not in `multiSelect` becomes. Without it such a row is rejected.
    #[serde(default, deserialize_with = "present")]
    #[schemars(example = &"other")]
    default: Option<Value>,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    if_null: Option<NullPolicy>,
}

/// An amount of money, or any other decimal number, with its digits exactly as they are.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MoneyFile {
    /// The money or decimal column.
    #[schemars(example = &"creditlimit")]
    column: String,
    /// How it is written.
    money: MoneyFormat,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    if_null: Option<NullPolicy>,
}

/// The most digits after the point.
const MOST_DECIMALS: u32 = 10;

/// How a decimal number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoneyFormat {
    /// Digits after the point.
    #[schemars(range(min = 0, max = MOST_DECIMALS), example = 2)]
    pub decimals: u32,
    /// As a text, a number, or a whole number of the smallest unit.
    #[serde(rename = "as", default)]
    pub kind: MoneyKind,
    /// What becomes of digits beyond `decimals`.
    #[serde(default)]
    pub rounding: Rounding,
}

/// What a decimal number is in the payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MoneyKind {
    /// `"1234.50"`: always exact.
    #[default]
    String,
    /// `1234.5`; an amount that a reader with double precision would read as another one is rejected.
    Number,
    /// `123450`.
    MinorUnits,
}

/// What becomes of digits for which there is no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rounding {
    /// The row is rejected.
    #[default]
    Reject,
    /// Half goes to the even digit, as banks do: 0.125 becomes 0.12.
    HalfEven,
    /// Half goes away from zero: 0.125 becomes 0.13.
    HalfUp,
}

/// A time or a day in a given format, in UTC.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DateFile {
    /// The date column.
    #[schemars(example = &"birthdate")]
    column: String,
    /// `rfc3339`, `unixSeconds`, or a format such as `[year]-[month]-[day]`, whose components are
    /// listed at <https://time-rs.github.io/book/api/format-description.html>.
    #[schemars(example = &"[year]-[month]-[day]")]
    date: String,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    if_null: Option<NullPolicy>,
}

/// A computed value.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExpressionFile {
    /// In jq, without definitions, folds, assignments and filters without end. Nothing (`empty`) leaves
    /// the member out.
    #[schemars(example = &"[.firstname, .lastname] | map(select(. != null)) | join(\" \")")]
    expression: String,
    /// The columns it sees, and no others; one behind a lookup is `."primarycontactid/emailaddress1"`.
    #[schemars(example = json!(["firstname", "lastname"]))]
    reads: Vec<String>,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    if_null: Option<NullPolicy>,
}

/// An object of further fields.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectFile {
    /// Its members.
    #[schemars(
        with = "BTreeMap<String, FieldFile>",
        example = json!({"street": "address1_line1", "city": "address1_city"})
    )]
    object: BTreeMap<String, Value>,
}

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

/// Where a column is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnPath(String);

/// What a field reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads<'a> {
    /// A column of the row itself.
    Own(&'a str),
    /// A column of the row a lookup leads to.
    Related {
        /// The lookup's navigation property.
        navigation: &'a str,
        /// The column.
        column: &'a str,
    },
}

impl ColumnPath {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Taken apart.
    #[must_use]
    pub fn reads(&self) -> Reads<'_> {
        match self.0.split_once('/') {
            Some((navigation, column)) => Reads::Related { navigation, column },
            None => Reads::Own(&self.0),
        }
    }

    fn check(text: String, findings: &mut Findings<'_>) -> Self {
        let path = Self(text);
        match path.reads() {
            Reads::Own(column) if !is_name(column) => {
                findings.note(format!("is {column:?}, which is no column, e.g. \"name\""));
            }
            Reads::Related { navigation, column } if !is_name(navigation) || !is_name(column) => {
                findings.note(format!(
                    "is \"{navigation}/{column}\", but must be one lookup and one column, e.g. \"primarycontactid/emailaddress1\""
                ));
            }
            Reads::Related { navigation, .. } => check_navigation(navigation, findings),
            Reads::Own(_) => {}
        }
        path
    }
}

pub(super) fn check_navigation(navigation: &str, findings: &mut Findings<'_>) {
    let name = navigation
        .strip_prefix('_')
        .and_then(|n| n.strip_suffix("_value"));
    if let Some(name) = name {
        findings.note(format!(
            "follows {navigation}, but a lookup is followed by its navigation property, e.g. {name:?}"
        ));
    }
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
                    if !reads.iter().any(|read| read.0 == column) {
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

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
