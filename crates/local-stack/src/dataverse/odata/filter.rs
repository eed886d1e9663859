//! `$filter`: parsing and evaluation.
//!
//! Comparisons, `and`, `or`, `not`, parentheses, `contains`, `startswith`, `endswith`, and the
//! query function `Microsoft.Dynamics.CRM.In`. Everything else is refused.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::lexer::{Token, tokens};
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
        let tokens = tokens(text)?;
        let mut parser = Parser { rest: &tokens };
        let filter = parser.any()?;
        match parser.rest {
            [] => Ok(filter),
            _ => Err(syntax()),
        }
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

fn syntax() -> ApiError {
    ApiError::bad_request("Syntax error in the $filter expression.")
}

struct Parser<'a> {
    rest: &'a [Token],
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Filter, ApiError> {
        let mut filter = self.all()?;
        while self.word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, ApiError> {
        let mut filter = self.one()?;
        while self.word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, ApiError> {
        if self.word("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take(&Token::Open) {
            let inner = self.any()?;
            self.expect(&Token::Close)?;
            return Ok(inner);
        }
        let name = self.name()?;
        if self.take(&Token::Open) {
            return self.function(&name);
        }
        let comparison = match self.name()?.as_str() {
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "lt" => Comparison::Lt,
            "le" => Comparison::Le,
            "gt" => Comparison::Gt,
            "ge" => Comparison::Ge,
            other => {
                let message = format!("The operator '{other}' is not supported.");
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(Filter::Compare(name, comparison, self.literal()?))
    }

    fn function(&mut self, name: &str) -> Result<Filter, ApiError> {
        let how = match name {
            "Microsoft.Dynamics.CRM.In" => return self.in_function(),
            "contains" => Text::Contains,
            "startswith" => Text::StartsWith,
            "endswith" => Text::EndsWith,
            other => {
                let message = format!("An unknown function with name '{other}' was found.");
                return Err(ApiError::bad_request(message));
            }
        };
        let property = self.name()?;
        self.expect(&Token::Comma)?;
        let Cell::Text(wanted) = self.literal()? else {
            return Err(syntax());
        };
        self.expect(&Token::Close)?;
        Ok(Filter::Match(how, property, wanted))
    }

    /// `(PropertyName='accountid',PropertyValues=['…','…'])`, after the opening parenthesis.
    fn in_function(&mut self) -> Result<Filter, ApiError> {
        self.parameter("PropertyName")?;
        let Cell::Text(property) = self.literal()? else {
            return Err(syntax());
        };
        self.expect(&Token::Comma)?;
        self.parameter("PropertyValues")?;
        self.expect(&Token::OpenBracket)?;
        let mut values = Vec::new();
        while !self.take(&Token::CloseBracket) {
            if !values.is_empty() {
                self.expect(&Token::Comma)?;
            }
            values.push(self.literal()?);
        }
        self.expect(&Token::Close)?;
        if values.is_empty() {
            return Err(ApiError::bad_request("PropertyValues must not be empty."));
        }
        Ok(Filter::In(property, values))
    }

    fn parameter(&mut self, name: &str) -> Result<(), ApiError> {
        if !self.word(name) {
            return Err(syntax());
        }
        self.expect(&Token::Equals)
    }

    fn name(&mut self) -> Result<String, ApiError> {
        match self.rest {
            [Token::Name(name), rest @ ..] => {
                self.rest = rest;
                Ok(name.clone())
            }
            _ => Err(syntax()),
        }
    }

    fn literal(&mut self) -> Result<Cell, ApiError> {
        let [token, rest @ ..] = self.rest else {
            return Err(syntax());
        };
        self.rest = rest;
        match token {
            Token::Text(text) => Ok(Cell::Text(text.clone())),
            Token::Guid(id) => Ok(Cell::Guid(*id)),
            Token::Time(at) => Ok(Cell::Time(*at)),
            Token::Int(number) => Ok(Cell::Int(*number)),
            Token::Number(number) => Ok(Cell::Number(*number)),
            Token::Bool(value) => Ok(Cell::Bool(*value)),
            Token::Null => Ok(Cell::Null),
            _ => Err(syntax()),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(&Token::Name(word.to_owned()))
    }

    fn take(&mut self, token: &Token) -> bool {
        match self.rest {
            [first, rest @ ..] if first == token => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, token: &Token) -> Result<(), ApiError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(syntax())
        }
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
