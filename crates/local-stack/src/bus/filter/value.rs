//! The values SQL expressions work with, and their operators.
//!
//! Operators bind as C#'s do (Azure doc "Subscription Rule SQL Filter Syntax", *Operator binding
//! semantics*): integers are 64 bits wide and divide without a rest, an integer beside a double
//! becomes one, text is only added and tested for equality. What C# would refuse to compile is an
//! evaluation error here, never silently false.

use std::cmp::Ordering;

use serde_amqp::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::EvaluationError;
use crate::bus::wire::values;

/// A known value. Unknown ones (absent or null) are a `None` beside it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Moment(OffsetDateTime),
    Id(Uuid),
    /// A value no operator takes (binary, lists); still, it is there.
    Opaque,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Scalar {
    /// An AMQP value in SQL's terms; `None` for null.
    pub(super) fn of(value: &Value) -> Option<Self> {
        if let Some(number) = values::integer(value) {
            return Some(Scalar::Int(number));
        }
        if let Some(text) = values::text(value) {
            return Some(Scalar::Text(text.to_owned()));
        }
        if let Some(moment) = values::moment(value) {
            return Some(Scalar::Moment(moment));
        }
        if let Some(id) = values::as_uuid(value) {
            return Some(Scalar::Id(id));
        }
        Some(match value {
            Value::Null => return None,
            Value::Bool(flag) => Scalar::Bool(*flag),
            // Too large for a 64-bit integer with a sign; C# takes it to a double beside one.
            #[expect(clippy::cast_precision_loss, reason = "as C# converts")]
            Value::Ulong(number) => Scalar::Double(*number as f64),
            Value::Float(number) => Scalar::Double(f64::from(number.into_inner())),
            Value::Double(number) => Scalar::Double(number.into_inner()),
            Value::Char(letter) => Scalar::Text(letter.to_string()),
            _ => Scalar::Opaque,
        })
    }

    /// The AMQP value an action stores.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Scalar::Bool(flag) => Value::Bool(*flag),
            Scalar::Int(number) => Value::Long(*number),
            Scalar::Double(number) => Value::Double((*number).into()),
            Scalar::Text(text) => Value::String(text.clone()),
            Scalar::Moment(moment) => values::timestamp(*moment),
            Scalar::Id(id) => values::uuid(*id),
            Scalar::Opaque => Value::Null,
        }
    }

    /// As text, where an action sets a property that holds text.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Scalar::Bool(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
            Scalar::Int(number) => Some(number.to_string()),
            Scalar::Double(number) => Some(number.to_string()),
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Id(id) => Some(id.to_string()),
            Scalar::Moment(_) | Scalar::Opaque => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Scalar::Bool(_) => "boolean",
            Scalar::Int(_) => "long",
            Scalar::Double(_) => "double",
            Scalar::Text(_) => "string",
            Scalar::Moment(_) => "date and time",
            Scalar::Id(_) => "guid",
            Scalar::Opaque => "object",
        }
    }
}

impl Comparison {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    /// Compares two known values.
    ///
    /// # Errors
    /// When there is no such operator for these types.
    pub(super) fn apply(self, left: &Scalar, right: &Scalar) -> Result<bool, EvaluationError> {
        let is_equality = matches!(self, Comparison::Equal | Comparison::NotEqual);
        let order = match (left, right) {
            (Scalar::Int(left), Scalar::Int(right)) => Some(left.cmp(right)),
            (Scalar::Moment(left), Scalar::Moment(right)) => Some(left.cmp(right)),
            (Scalar::Text(left), Scalar::Text(right)) if is_equality => Some(left.cmp(right)),
            (Scalar::Bool(left), Scalar::Bool(right)) if is_equality => Some(left.cmp(right)),
            (Scalar::Id(left), Scalar::Id(right)) if is_equality => Some(left.cmp(right)),
            (left, right) => match (double(left), double(right)) {
                (Some(left), Some(right)) => left.partial_cmp(&right),
                _ => return Err(mismatch(self.symbol(), left, right)),
            },
        };
        Ok(match self {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        })
    }
}

impl Arithmetic {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Remainder => "%",
        }
    }

    /// Calculates with two known values.
    ///
    /// # Errors
    /// When there is no such operator for these types, or the result is no 64-bit integer.
    pub(super) fn apply(self, left: &Scalar, right: &Scalar) -> Result<Scalar, EvaluationError> {
        match (left, right) {
            (Scalar::Int(left), Scalar::Int(right)) => match self {
                Arithmetic::Add => left.checked_add(*right),
                Arithmetic::Subtract => left.checked_sub(*right),
                Arithmetic::Multiply => left.checked_mul(*right),
                Arithmetic::Divide => left.checked_div(*right),
                Arithmetic::Remainder => left.checked_rem(*right),
            }
            .map(Scalar::Int)
            .ok_or_else(|| EvaluationError::NoResult {
                operator: self.symbol(),
            }),
            (Scalar::Text(left), Scalar::Text(right)) if self == Arithmetic::Add => {
                Ok(Scalar::Text(format!("{left}{right}")))
            }
            (left, right) => match (double(left), double(right)) {
                (Some(left), Some(right)) => Ok(Scalar::Double(match self {
                    Arithmetic::Add => left + right,
                    Arithmetic::Subtract => left - right,
                    Arithmetic::Multiply => left * right,
                    Arithmetic::Divide => left / right,
                    Arithmetic::Remainder => left % right,
                })),
                _ => Err(mismatch(self.symbol(), left, right)),
            },
        }
    }
}

/// The value with its sign turned.
///
/// # Errors
/// When it is not a number, or the smallest 64-bit integer.
pub(super) fn negate(value: &Scalar) -> Result<Scalar, EvaluationError> {
    match value {
        Scalar::Int(number) => number
            .checked_neg()
            .map(Scalar::Int)
            .ok_or(EvaluationError::NoResult { operator: "-" }),
        Scalar::Double(number) => Ok(Scalar::Double(-number)),
        other => Err(not_a_number(other)),
    }
}

/// The value itself, if a sign may stand before it.
///
/// # Errors
/// When it is not a number.
pub(super) fn number(value: Scalar) -> Result<Scalar, EvaluationError> {
    match value {
        Scalar::Int(_) | Scalar::Double(_) => Ok(value),
        other => Err(not_a_number(&other)),
    }
}

/// A value that must be text.
///
/// # Errors
/// When it is something else.
pub(super) fn text(value: Scalar, what: &'static str) -> Result<String, EvaluationError> {
    match value {
        Scalar::Text(text) => Ok(text),
        other => Err(EvaluationError::NotText {
            what,
            kind: other.kind(),
        }),
    }
}

fn double(value: &Scalar) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "as C# converts")]
        Scalar::Int(number) => Some(*number as f64),
        Scalar::Double(number) => Some(*number),
        _ => None,
    }
}

fn mismatch(operator: &'static str, left: &Scalar, right: &Scalar) -> EvaluationError {
    EvaluationError::NoSuchOperator {
        operator,
        left: left.kind(),
        right: right.kind(),
    }
}

fn not_a_number(value: &Scalar) -> EvaluationError {
    EvaluationError::NotNumber { kind: value.kind() }
}
