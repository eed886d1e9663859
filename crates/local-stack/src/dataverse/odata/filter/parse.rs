//! Reading `$filter` expressions, by recursive descent: `or` binds loosest, then `and`, then `not`.

use super::{Comparison, Filter, Text};
use crate::dataverse::cell::Cell;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::lexer::{Token, tokens};

pub(super) fn parse(text: &str) -> Result<Filter, ApiError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { rest: &tokens };
    let filter = parser.any()?;
    match parser.rest {
        [] => Ok(filter),
        _ => Err(syntax()),
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
            // A column of the row that a lookup leads to.
            [
                Token::Name(lookup),
                Token::Slash,
                Token::Name(name),
                rest @ ..,
            ] => {
                self.rest = rest;
                Ok(format!("{lookup}/{name}"))
            }
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
