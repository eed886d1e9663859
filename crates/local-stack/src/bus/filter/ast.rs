//! What a parsed filter or action is made of.

use super::value::{Arithmetic, Comparison, Scalar};

/// A condition; true, false or unknown for a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Predicate {
    Not(Box<Predicate>),
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    Compare(Comparison, Expression, Expression),
    IsNull {
        property: Property,
        negated: bool,
    },
    In {
        value: Expression,
        list: Vec<Expression>,
        negated: bool,
    },
    Like {
        value: Expression,
        pattern: Expression,
        escape: Option<Expression>,
        negated: bool,
    },
    Exists(Property),
}

/// A value for a message; `NULL` and absent properties are unknown.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    /// A literal, or a parameter's value.
    Constant(Option<Scalar>),
    Property(Property),
    /// `property(name)`, whose name is calculated.
    Named(Box<Expression>),
    NewId,
    Plus(Box<Expression>),
    Negate(Box<Expression>),
    Binary(Arithmetic, Box<Expression>, Box<Expression>),
}

/// A property, by scope and name. Names are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Property {
    System(String),
    User(String),
}

/// One statement of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    Set(Property, Expression),
    Remove(Property),
}
