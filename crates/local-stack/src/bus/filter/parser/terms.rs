//! Values: constants, properties, functions and calculations.

use super::{Misfit, Node, Parser, is_keyword};
use crate::bus::filter::ast::{Expression, Property};
use crate::bus::filter::lexer::Token;
use crate::bus::filter::value::{Arithmetic, Scalar};

impl Parser<'_> {
    pub(super) fn sum_value(&mut self) -> Result<Expression, Misfit> {
        let position = self.position();
        self.sum()?.value(position)
    }

    pub(super) fn sum(&mut self) -> Result<Node, Misfit> {
        const OPERATORS: [Arithmetic; 2] = [Arithmetic::Add, Arithmetic::Subtract];
        self.chain(&OPERATORS, Parser::product)
    }

    fn product(&mut self) -> Result<Node, Misfit> {
        const OPERATORS: [Arithmetic; 3] = [
            Arithmetic::Multiply,
            Arithmetic::Divide,
            Arithmetic::Remainder,
        ];
        self.chain(&OPERATORS, Parser::signed)
    }

    /// Operands with operators of one rank between them, from left to right.
    fn chain(
        &mut self,
        operators: &[Arithmetic],
        operand: fn(&mut Self) -> Result<Node, Misfit>,
    ) -> Result<Node, Misfit> {
        let position = self.position();
        let mut left = operand(self)?;
        while let Some(operator) = operators
            .iter()
            .find(|operator| self.takes_sign(operator.symbol()))
        {
            let at = self.position();
            let right = operand(self)?.value(at)?;
            let first = left.value(position)?;
            left = Node::Value(Expression::Binary(
                *operator,
                Box::new(first),
                Box::new(right),
            ));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Node, Misfit> {
        let wrap = if self.takes_sign("-") {
            Expression::Negate
        } else if self.takes_sign("+") {
            Expression::Plus
        } else {
            return self.primary();
        };
        self.nested(|parser| {
            let position = parser.position();
            let inner = parser.signed()?.value(position)?;
            Ok(Node::Value(wrap(Box::new(inner))))
        })
    }

    fn primary(&mut self) -> Result<Node, Misfit> {
        let Some(token) = self.pieces.get(self.next).map(|piece| piece.token.clone()) else {
            return Err(self.misfit("ends where a value is expected"));
        };
        let constant = match token {
            Token::Sign("(") => {
                self.next += 1;
                return self.nested(|parser| {
                    let inner = parser.disjunction()?;
                    parser.expect_sign(")")?;
                    Ok(inner)
                });
            }
            Token::Text(text) => Some(Scalar::Text(text)),
            Token::Int(number) => Some(Scalar::Int(number)),
            Token::Double(number) => Some(Scalar::Double(number)),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Some(Scalar::Bool(true)),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Some(Scalar::Bool(false)),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => None,
            Token::Parameter(name) => match self.parameters.get(&name.to_lowercase()) {
                Some(value) => value.clone(),
                None => return Err(self.misfit(&format!("has no value for its parameter @{name}"))),
            },
            Token::Word(word) if self.is_sign(self.next + 1, "(") => {
                return self.function(&word).map(Node::Value);
            }
            Token::Word(_) | Token::Quoted(_) => {
                let property = self.property()?;
                return Ok(Node::Value(Expression::Property(property)));
            }
            Token::Sign(_) => return Err(self.misfit("expects a value")),
        };
        self.next += 1;
        Ok(Node::Value(Expression::Constant(constant)))
    }

    fn function(&mut self, name: &str) -> Result<Expression, Misfit> {
        let lower = name.to_lowercase();
        if !["newid", "property", "p"].contains(&lower.as_str()) {
            return Err(self.misfit(&format!("has the unknown function {name}()")));
        }
        self.next += 2;
        let call = match lower.as_str() {
            "newid" => Expression::NewId,
            _ => self.nested(|parser| {
                let name = parser.sum_value()?;
                Ok(Expression::Named(Box::new(name)))
            })?,
        };
        self.expect_sign(")")?;
        Ok(call)
    }

    pub(super) fn property(&mut self) -> Result<Property, Misfit> {
        let position = self.position();
        let first = self.name()?;
        let Token::Word(scope) = &first else {
            return match first {
                Token::Quoted(name) => Ok(Property::User(name)),
                _ => Err(self.misfit("expects a property")),
            };
        };
        if !self.takes_sign(".") {
            return Ok(Property::User(scope.clone()));
        }
        let (Token::Word(name) | Token::Quoted(name)) = self.name()? else {
            return Err(self.misfit("expects a property"));
        };
        match scope.to_lowercase().as_str() {
            "sys" => Ok(Property::System(name)),
            "user" => Ok(Property::User(name)),
            _ => Err(Misfit {
                position,
                problem: format!("has the unknown scope {scope}; there are sys and user"),
            }),
        }
    }

    fn name(&mut self) -> Result<Token, Misfit> {
        match self.pieces.get(self.next).map(|piece| &piece.token) {
            Some(Token::Word(word)) if is_keyword(word) => Err(self.misfit(&format!(
                "has the keyword {word} where a property is expected; write [{word}] for one of \
                 that name"
            ))),
            Some(token @ (Token::Word(_) | Token::Quoted(_))) => {
                let token = token.clone();
                self.next += 1;
                Ok(token)
            }
            _ => Err(self.misfit("expects a property")),
        }
    }
}
