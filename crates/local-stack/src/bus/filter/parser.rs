//! Reads filters and actions (Azure docs "Subscription Rule SQL Filter Syntax" and "… SQL Action
//! Syntax"). Recursive descent; `OR` binds least, then `AND`, `NOT`, comparisons, `+ -`, `* / %`,
//! signs.

use std::collections::BTreeMap;

use super::ast::{Expression, Predicate, Property, Statement};
use super::lexer::{self, Piece, Token};
use super::value::{Arithmetic, Comparison, Scalar};

/// Parentheses, `NOT`s and signs inside each other; what a person writes stays below ten.
const MAX_DEPTH: usize = 40;

const KEYWORDS: [&str; 13] = [
    "and", "or", "not", "in", "like", "escape", "is", "null", "exists", "true", "false", "set",
    "remove",
];

/// Values of the parameters (`@name`) an expression may use, by name without `@`, in lower case.
pub(super) type Parameters = BTreeMap<String, Option<Scalar>>;

/// Where an expression leaves the language, and how it goes on there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// In characters, from 1.
    pub(super) position: usize,
    pub(super) problem: String,
}

/// Reads a filter.
///
/// # Errors
/// The first place at which it is not one.
pub(super) fn filter(expression: &str, parameters: &Parameters) -> Result<Predicate, Misfit> {
    let mut parser = Parser::new(expression, parameters)?;
    let position = parser.position();
    let node = parser.disjunction()?;
    parser.expect_end()?;
    node.predicate(position)
}

/// Reads an action: statements one after another, semicolons or not.
///
/// # Errors
/// The first place at which it is not one.
pub(super) fn action(expression: &str, parameters: &Parameters) -> Result<Vec<Statement>, Misfit> {
    let mut parser = Parser::new(expression, parameters)?;
    let mut statements = Vec::new();
    while parser.next < parser.pieces.len() {
        if parser.takes_word("set") {
            let property = parser.property()?;
            parser.expect_sign("=")?;
            statements.push(Statement::Set(property, parser.sum_value()?));
        } else if parser.takes_word("remove") {
            statements.push(Statement::Remove(parser.property()?));
        } else {
            return Err(parser.misfit("expects SET or REMOVE"));
        }
        while parser.takes_sign(";") {}
    }
    if statements.is_empty() {
        return Err(parser.misfit("has no statement"));
    }
    Ok(statements)
}

/// A part of an expression that may turn out to be a condition or a value: both may stand in
/// parentheses.
enum Node {
    Predicate(Predicate),
    Value(Expression),
}

impl Node {
    fn predicate(self, position: usize) -> Result<Predicate, Misfit> {
        match self {
            Node::Predicate(predicate) => Ok(predicate),
            Node::Value(_) => Err(Misfit {
                position,
                problem: "has a value where a condition is expected".to_owned(),
            }),
        }
    }

    fn value(self, position: usize) -> Result<Expression, Misfit> {
        match self {
            Node::Value(value) => Ok(value),
            Node::Predicate(_) => Err(Misfit {
                position,
                problem: "has a condition where a value is expected".to_owned(),
            }),
        }
    }
}

struct Parser<'p> {
    pieces: Vec<Piece>,
    next: usize,
    depth: usize,
    end: usize,
    parameters: &'p Parameters,
}

impl<'p> Parser<'p> {
    fn new(expression: &str, parameters: &'p Parameters) -> Result<Self, Misfit> {
        let pieces = lexer::pieces(expression)
            .map_err(|(position, problem)| Misfit { position, problem })?;
        Ok(Parser {
            pieces,
            next: 0,
            depth: 0,
            end: expression.chars().count() + 1,
            parameters,
        })
    }

    // === conditions ===

    fn disjunction(&mut self) -> Result<Node, Misfit> {
        let position = self.position();
        let mut left = self.conjunction()?;
        while self.takes_word("or") {
            let at = self.position();
            let right = self.conjunction()?.predicate(at)?;
            let first = left.predicate(position)?;
            left = Node::Predicate(Predicate::Or(Box::new(first), Box::new(right)));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Node, Misfit> {
        let position = self.position();
        let mut left = self.negation()?;
        while self.takes_word("and") {
            let at = self.position();
            let right = self.negation()?.predicate(at)?;
            let first = left.predicate(position)?;
            left = Node::Predicate(Predicate::And(Box::new(first), Box::new(right)));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Node, Misfit> {
        if !self.takes_word("not") {
            return self.comparison();
        }
        self.nested(|parser| {
            let position = parser.position();
            let inner = parser.negation()?.predicate(position)?;
            Ok(Node::Predicate(Predicate::Not(Box::new(inner))))
        })
    }

    fn comparison(&mut self) -> Result<Node, Misfit> {
        if self.takes_word("exists") {
            self.expect_sign("(")?;
            let property = self.property()?;
            self.expect_sign(")")?;
            return Ok(Node::Predicate(Predicate::Exists(property)));
        }
        let position = self.position();
        let left = self.sum()?;
        if let Some(comparison) = self.takes_comparison() {
            let left = left.value(position)?;
            let right = self.sum_value()?;
            return Ok(Node::Predicate(Predicate::Compare(comparison, left, right)));
        }
        if self.takes_word("is") {
            let negated = self.takes_word("not");
            self.expect_word("null")?;
            let Expression::Property(property) = left.value(position)? else {
                return Err(Misfit {
                    position,
                    problem: "has IS NULL after something that is not a property".to_owned(),
                });
            };
            return Ok(Node::Predicate(Predicate::IsNull { property, negated }));
        }
        let negated = self.takes_word("not");
        if self.takes_word("in") {
            let value = left.value(position)?;
            let list = self.list()?;
            return Ok(Node::Predicate(Predicate::In {
                value,
                list,
                negated,
            }));
        }
        if self.takes_word("like") {
            let value = left.value(position)?;
            let pattern = self.sum_value()?;
            let escape = match self.takes_word("escape") {
                true => Some(self.sum_value()?),
                false => None,
            };
            return Ok(Node::Predicate(Predicate::Like {
                value,
                pattern,
                escape,
                negated,
            }));
        }
        if negated {
            return Err(self.misfit("expects IN or LIKE after NOT"));
        }
        Ok(left)
    }

    fn list(&mut self) -> Result<Vec<Expression>, Misfit> {
        self.expect_sign("(")?;
        let mut list = vec![self.sum_value()?];
        while self.takes_sign(",") {
            list.push(self.sum_value()?);
        }
        self.expect_sign(")")?;
        Ok(list)
    }

    // === values ===

    fn sum_value(&mut self) -> Result<Expression, Misfit> {
        let position = self.position();
        self.sum()?.value(position)
    }

    fn sum(&mut self) -> Result<Node, Misfit> {
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

    fn property(&mut self) -> Result<Property, Misfit> {
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

    // === pieces ===

    /// Guards the stack against what nests without end.
    fn nested<R>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<R, Misfit>,
    ) -> Result<R, Misfit> {
        if self.depth == MAX_DEPTH {
            return Err(self.misfit("is nested too deeply"));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn takes_comparison(&mut self) -> Option<Comparison> {
        let comparison = match self.pieces.get(self.next)?.token {
            Token::Sign("=") => Comparison::Equal,
            Token::Sign("<>" | "!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(comparison)
    }

    fn peeks_word(&self, keyword: &str) -> bool {
        matches!(self.pieces.get(self.next), Some(Piece { token: Token::Word(word), .. })
            if word.eq_ignore_ascii_case(keyword))
    }

    fn takes_word(&mut self, keyword: &str) -> bool {
        let is_next = self.peeks_word(keyword);
        self.next += usize::from(is_next);
        is_next
    }

    fn is_sign(&self, index: usize, sign: &str) -> bool {
        matches!(self.pieces.get(index), Some(Piece { token: Token::Sign(found), .. })
            if *found == sign)
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_next = self.is_sign(self.next, sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect_word(&mut self, keyword: &str) -> Result<(), Misfit> {
        match self.takes_word(keyword) {
            true => Ok(()),
            false => Err(self.misfit(&format!("expects {}", keyword.to_uppercase()))),
        }
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), Misfit> {
        match self.takes_sign(sign) {
            true => Ok(()),
            false => Err(self.misfit(&format!("expects {sign}"))),
        }
    }

    fn expect_end(&self) -> Result<(), Misfit> {
        match self.next == self.pieces.len() {
            true => Ok(()),
            false => Err(self.misfit("goes on after its end")),
        }
    }

    fn position(&self) -> usize {
        self.pieces
            .get(self.next)
            .map_or(self.end, |piece| piece.position)
    }

    fn misfit(&self, problem: &str) -> Misfit {
        Misfit {
            position: self.position(),
            problem: problem.to_owned(),
        }
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(word))
}
