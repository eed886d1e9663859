//! Decimal numbers, digit for digit. Pure.
//!
//! Dataverse writes money and decimal columns as JSON numbers; [`crate::exact`] says why their digits arrive
//! as they were sent.

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Number, Value};

use super::value::Unfit;
use crate::config::{MoneyFormat, MoneyKind, Rounding};
use crate::exact;

/// An amount in the form the target wants.
pub(super) fn write(format: MoneyFormat, value: &Value) -> Result<Value, Unfit> {
    let exact = decimal(value)?;
    let rounded = match format.rounding {
        Rounding::Reject => {
            let normal = exact.normalize();
            if normal.scale() > format.decimals {
                return Err(Unfit::Digits);
            }
            normal
        }
        Rounding::HalfEven => {
            exact.round_dp_with_strategy(format.decimals, RoundingStrategy::MidpointNearestEven)
        }
        Rounding::HalfUp => {
            exact.round_dp_with_strategy(format.decimals, RoundingStrategy::MidpointAwayFromZero)
        }
    };
    let mut amount = rounded;
    amount.rescale(format.decimals);
    if amount.scale() != format.decimals {
        return Err(Unfit::Inexact);
    }
    match format.kind {
        MoneyKind::String => Ok(Value::String(amount.to_string())),
        MoneyKind::MinorUnits => i64::try_from(amount.mantissa())
            .map(Value::from)
            .map_err(|_| Unfit::Inexact),
        MoneyKind::Number => number(amount),
    }
}

fn decimal(value: &Value) -> Result<Decimal, Unfit> {
    let wrong = Unfit::Type {
        expected: "decimal number",
    };
    let text = match (value, exact::digits(value)) {
        (_, Some(digits)) => digits.to_owned(),
        (Value::Number(number), None) => number.to_string(),
        _ => return Err(wrong),
    };
    exact::decimal(&text).ok_or(Unfit::Inexact)
}

/// A JSON number that says the amount, and reads back as it.
fn number(amount: Decimal) -> Result<Value, Unfit> {
    let amount = amount.normalize();
    if amount.scale() == 0 {
        return i64::try_from(amount.mantissa())
            .map(Value::from)
            .map_err(|_| Unfit::Inexact);
    }
    let text = amount.to_string();
    let number: Number = text.parse().map_err(|_| Unfit::Inexact)?;
    if number.to_string() == text {
        Ok(Value::Number(number))
    } else {
        Err(Unfit::Inexact)
    }
}
