//! `$filter`: what a condition is, and when it holds.
//!
//! Comparisons, `and`, `or`, `not`, parentheses, `contains`, `startswith`, `endswith`, and the
//! query function `Microsoft.Dynamics.CRM.In`. Everything else is refused.

mod parse;

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::dataverse::cell::Cell;
use crate::dataverse::error::ApiError;

/// A condition on one record.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dataverse) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Compare(String, Comparison, Cell),
    Match(Text, String, String),
    In(String, Vec<Cell>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataverse) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataverse) enum Text {
    Contains,
    StartsWith,
    EndsWith,
}

impl Filter {
    pub(in crate::dataverse) fn parse(text: &str) -> Result<Self, ApiError> {
        parse::parse(text)
    }

    /// Whether a record, given as its values by property name, meets the condition.
    pub(in crate::dataverse) fn holds<'a>(&self, value: &impl Fn(&str) -> Cow<'a, Cell>) -> bool {
        match self {
            Self::And(a, b) => a.holds(value) && b.holds(value),
            Self::Or(a, b) => a.holds(value) || b.holds(value),
            Self::Not(inner) => !inner.holds(value),
            Self::Compare(name, comparison, literal) => compare(&value(name), *comparison, literal),
            Self::Match(how, name, wanted) => {
                let text = value(name).as_text().unwrap_or_default().to_lowercase();
                let wanted = wanted.to_lowercase();
                match how {
                    Text::Contains => text.contains(&wanted),
                    Text::StartsWith => text.starts_with(&wanted),
                    Text::EndsWith => text.ends_with(&wanted),
                }
            }
            Self::In(name, values) => {
                let value = value(name);
                let equal = |one: &Cell| value.compare(one) == Some(Ordering::Equal);
                values.iter().any(equal)
            }
        }
    }

    /// Gives every literal the type of its property.
    ///
    /// # Errors
    /// What `convert` says of a name it does not know or a literal that does not fit.
    pub(in crate::dataverse) fn typed(
        &mut self,
        convert: &impl Fn(&mut String, &Cell, Literal) -> Result<Cell, ApiError>,
    ) -> Result<(), ApiError> {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.typed(convert)?;
                b.typed(convert)
            }
            Self::Not(inner) => inner.typed(convert),
            Self::Compare(name, _, literal) => {
                *literal = convert(name, literal, Literal::Plain)?;
                Ok(())
            }
            Self::Match(_, name, wanted) => {
                convert(name, &Cell::Text(wanted.clone()), Literal::Plain).map(drop)
            }
            Self::In(name, values) => {
                for value in values {
                    *value = convert(name, value, Literal::Quoted)?;
                }
                Ok(())
            }
        }
    }

    /// The values one property must have for the condition to hold, if it says so outright.
    pub(in crate::dataverse) fn required(&self, property: &str) -> Option<&[Cell]> {
        match self {
            Self::And(a, b) => a.required(property).or_else(|| b.required(property)),
            Self::Compare(name, Comparison::Eq, literal) if name == property => {
                Some(std::slice::from_ref(literal))
            }
            Self::In(name, values) if name == property => Some(values),
            _ => None,
        }
    }
}

/// How a literal was written: query functions quote values of every type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dataverse) enum Literal {
    Plain,
    Quoted,
}

fn compare(value: &Cell, comparison: Comparison, literal: &Cell) -> bool {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    if value.is_null() || literal.is_null() {
        let both = value.is_null() && literal.is_null();
        return match comparison {
            Eq => both,
            // SQL would drop nulls here; the Web API's `ne` keeps them.
            Ne => !both,
            _ => false,
        };
    }
    let Some(order) = value.compare(literal) else {
        return false;
    };
    match comparison {
        Eq => order.is_eq(),
        Ne => order.is_ne(),
        Lt => order.is_lt(),
        Le => order.is_le(),
        Gt => order.is_gt(),
        Ge => order.is_ge(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(filter: &str) -> bool {
        let value = |name: &str| {
            Cow::Owned(match name {
                "name" => Cell::Text("Adventure Works".to_owned()),
                "employees" => Cell::Int(12),
                "revenue" => Cell::Number(10.5),
                _ => Cell::Null,
            })
        };
        Filter::parse(filter).unwrap().holds(&value)
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_decide() {
        assert!(holds("employees eq 12 or employees eq 1 and name eq 'x'"));
        assert!(!holds(
            "(employees eq 12 or employees eq 1) and name eq 'x'"
        ));
        assert!(holds("not (employees eq 1) and not contains(name,'zzz')"));
    }

    #[test]
    fn text_is_compared_without_regard_to_case() {
        assert!(holds("name eq 'ADVENTURE works'"));
        assert!(holds("startswith(name,'adv') and endswith(name,'WORKS')"));
    }

    #[test]
    fn null_equals_only_null() {
        assert!(holds("phone eq null and name ne null"));
        assert!(!holds("phone gt 1"));
        assert!(holds("phone ne 1"));
    }

    #[test]
    fn whole_and_fractional_numbers_compare() {
        assert!(holds("revenue gt 10 and revenue lt 11 and employees ge 12"));
    }

    #[test]
    fn the_in_function_lists_values() {
        let within =
            "Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=['a','adventure works'])";
        assert!(holds(within));
        assert!(!holds(&format!("not {within}")));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for filter in [
            "name eq",
            "name is 'x'",
            "name eq 'x' and",
            "(name eq 'x'",
            "tolower(name) eq 'x'",
            "name eq 'x' name eq 'y'",
            "Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=[])",
        ] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }
}
