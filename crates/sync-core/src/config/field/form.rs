//! The forms of a field as they stand in the file, each with its keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::config::table::NullPolicy;

/// What a member of the payload is made of: a column's name, or an object.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "only describes the file; each form is read by itself, so that it says what it lacks"
)]
pub(in crate::config) enum FieldFile {
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
pub(in crate::config) struct ColumnFile {
    /// The column.
    #[schemars(example = &"parentcustomerid_account/name")]
    pub(super) column: String,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    pub(super) if_null: Option<NullPolicy>,
}

/// Always the same value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ConstantFile {
    /// The value.
    #[schemars(example = &"dynamics365")]
    pub(super) constant: Value,
}

/// A choice, translated value by value.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct OptionsFile {
    /// The choice column; a yes/no column has the values `true` and `false`.
    #[schemars(example = &"statecode")]
    pub(super) column: String,
    /// What each of its values is called in the target.
    #[schemars(example = json!({"0": "active", "1": "inactive"}))]
    pub(super) options: BTreeMap<String, Value>,
    /// What a value that is not in `options` becomes. Without it such a row is rejected.
    #[serde(default, deserialize_with = "present")]
    #[schemars(example = &"other")]
    pub(super) default: Option<Value>,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    pub(super) if_null: Option<NullPolicy>,
}

/// A choice of several values, translated value by value into a list.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct MultiSelectFile {
    /// The choices column.
    #[schemars(example = &"new_languages")]
    pub(super) column: String,
    /// What each of its values is called in the target.
    #[schemars(example = json!({"100": "de", "101": "en"}))]
    pub(super) multi_select: BTreeMap<String, Value>,
    /// What a value that is not in `multiSelect` becomes. Without it such a row is rejected.
    #[serde(default, deserialize_with = "present")]
    #[schemars(example = &"other")]
    pub(super) default: Option<Value>,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    pub(super) if_null: Option<NullPolicy>,
}

/// An amount of money, or any other decimal number, with its digits exactly as they are.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct MoneyFile {
    /// The money or decimal column.
    #[schemars(example = &"creditlimit")]
    pub(super) column: String,
    /// How it is written.
    pub(super) money: MoneyFormat,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    pub(super) if_null: Option<NullPolicy>,
}

/// The most digits after the point.
pub(super) const MOST_DECIMALS: u32 = 10;

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
pub(in crate::config) struct DateFile {
    /// The date column.
    #[schemars(example = &"birthdate")]
    pub(super) column: String,
    /// `rfc3339`, `unixSeconds`, or a format such as `[year]-[month]-[day]`, whose components are
    /// listed at <https://time-rs.github.io/book/api/format-description.html>.
    #[schemars(example = &"[year]-[month]-[day]")]
    pub(super) date: String,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    pub(super) if_null: Option<NullPolicy>,
}

/// A computed value.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct ExpressionFile {
    /// In jq, without definitions, folds, assignments and filters without end. Nothing (`empty`) leaves
    /// the member out.
    #[schemars(example = &"[.firstname, .lastname] | map(select(. != null)) | join(\" \")")]
    pub(super) expression: String,
    /// The columns it sees, and no others; one behind a lookup is `."primarycontactid/emailaddress1"`.
    #[schemars(example = json!(["firstname", "lastname"]))]
    pub(super) reads: Vec<String>,
    /// What becomes of null; by default what the table's `nulls` says.
    #[schemars(example = &"omit")]
    pub(super) if_null: Option<NullPolicy>,
}

/// An object of further fields.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ObjectFile {
    /// Its members.
    #[schemars(
        with = "BTreeMap<String, FieldFile>",
        example = json!({"street": "address1_line1", "city": "address1_city"})
    )]
    pub(super) object: BTreeMap<String, Value>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
