//! Reads filters and actions (Azure docs "Subscription Rule SQL Filter Syntax" and "… SQL Action
//! Syntax"). Recursive descent; `OR` binds least, then `AND`, `NOT`, comparisons, `+ -`, `* / %`,
//! signs.

mod conditions;
mod terms;

use std::collections::BTreeMap;

use super::ast::{Expression, Predicate, Statement};
use super::lexer::{self, Piece, Token};
use super::value::{Comparison, Scalar};

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
