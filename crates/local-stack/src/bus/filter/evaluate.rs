//! Evaluates filters on messages, with SQL's three-valued logic: `None` is unknown.

use uuid::Uuid;

use super::ast::{Expression, Predicate, Property};
use super::error::EvaluationError;
use super::like;
use super::subject::Subject;
use super::value::{self, Comparison, Scalar};

/// Makes ids for `newid()`.
pub(super) type FreshId<'f> = dyn FnMut() -> Uuid + 'f;

/// Whether a condition holds; `None` if that cannot be known.
///
/// # Errors
/// When a system property does not exist or an operator does not fit its operands.
pub(super) fn predicate(
    condition: &Predicate,
    subject: &Subject,
    fresh: &mut FreshId<'_>,
) -> Result<Option<bool>, EvaluationError> {
    match condition {
        Predicate::Not(inner) => Ok(predicate(inner, subject, fresh)?.map(|truth| !truth)),
        Predicate::And(left, right) => match predicate(left, subject, fresh)? {
            Some(false) => Ok(Some(false)),
            left => Ok(and(left, predicate(right, subject, fresh)?)),
        },
        Predicate::Or(left, right) => match predicate(left, subject, fresh)? {
            Some(true) => Ok(Some(true)),
            left => Ok(or(left, predicate(right, subject, fresh)?)),
        },
        Predicate::Compare(comparison, left, right) => {
            let left = expression(left, subject, fresh)?;
            let right = expression(right, subject, fresh)?;
            match (left, right) {
                (Some(left), Some(right)) => comparison.apply(&left, &right).map(Some),
                _ => Ok(None),
            }
        }
        Predicate::IsNull { property, negated } => {
            Ok(Some(subject.get(property)?.is_none() != *negated))
        }
        Predicate::Exists(property) => subject.has(property).map(Some),
        Predicate::In {
            value,
            list,
            negated,
        } => {
            let Some(value) = expression(value, subject, fresh)? else {
                return Ok(None);
            };
            let mut found = Some(false);
            for item in list {
                let equal = match expression(item, subject, fresh)? {
                    Some(item) => Some(Comparison::Equal.apply(&value, &item)?),
                    None => None,
                };
                found = or(found, equal);
            }
            Ok(found.map(|found| found != *negated))
        }
        Predicate::Like {
            value,
            pattern,
            escape,
            negated,
        } => {
            let value = expression(value, subject, fresh)?;
            let pattern = expression(pattern, subject, fresh)?;
            let escape = match escape {
                None => None,
                Some(escape) => match expression(escape, subject, fresh)? {
                    None => return Ok(None),
                    Some(escape) => Some(single(&value::text(escape, "ESCAPE")?)?),
                },
            };
            let (Some(value), Some(pattern)) = (value, pattern) else {
                return Ok(None);
            };
            let value = value::text(value, "what LIKE compares")?;
            let pattern = value::text(pattern, "the pattern of LIKE")?;
            Ok(Some(like::matches(&value, &pattern, escape) != *negated))
        }
    }
}

/// A value; `None` if it is unknown.
///
/// # Errors
/// As for [`predicate`].
pub(super) fn expression(
    term: &Expression,
    subject: &Subject,
    fresh: &mut FreshId<'_>,
) -> Result<Option<Scalar>, EvaluationError> {
    match term {
        Expression::Constant(value) => Ok(value.clone()),
        Expression::Property(property) => subject.get(property),
        Expression::NewId => Ok(Some(Scalar::Id(fresh()))),
        Expression::Named(name) => match expression(name, subject, fresh)? {
            Some(name) => {
                let name = value::text(name, "the name in property()")?;
                subject.get(&Property::User(name))
            }
            None => Ok(None),
        },
        Expression::Plus(inner) => expression(inner, subject, fresh)?
            .map(value::number)
            .transpose(),
        Expression::Negate(inner) => expression(inner, subject, fresh)?
            .map(|value| value::negate(&value))
            .transpose(),
        Expression::Binary(operator, left, right) => {
            let left = expression(left, subject, fresh)?;
            let right = expression(right, subject, fresh)?;
            match (left, right) {
                (Some(left), Some(right)) => operator.apply(&left, &right).map(Some),
                _ => Ok(None),
            }
        }
    }
}

fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn single(text: &str) -> Result<char, EvaluationError> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Ok(letter),
        _ => Err(EvaluationError::Escape),
    }
}
