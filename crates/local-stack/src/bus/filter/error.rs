//! What can be wrong with a rule, when it is made and when it meets a message.

/// A rule that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The expression is not in the language.
    #[error("{what} {problem} at character {position} of: {expression}")]
    Syntax {
        /// `SqlFilter` or `Action`.
        what: &'static str,
        /// What was found or missed.
        problem: String,
        /// Counted from 1.
        position: usize,
        /// The whole expression.
        expression: String,
    },
    /// The expression is longer than the service takes.
    #[error("{what} is {length} characters long; the limit is {limit}")]
    TooLong {
        /// `SqlFilter` or `Action`.
        what: &'static str,
        /// Its length in characters.
        length: usize,
        /// The limit in characters.
        limit: usize,
    },
    /// An action of more statements than the service takes.
    #[error("Action has {count} statements; the limit is {limit}")]
    TooManyStatements {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A correlation filter that asks for nothing.
    #[error("CorrelationFilter names no property to compare, such as \"CorrelationId\"")]
    EmptyCorrelation,
    /// A rule without a name, or with one that is too long.
    #[error("Name must have 1 to 50 characters")]
    Name,
}

/// A message on which a rule could not be evaluated: the service's `FilterException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluationError {
    #[error("there is no system property '{0}'")]
    NoSuchSystemProperty(String),
    #[error("the system property '{0}' cannot be changed by an action")]
    ReadOnly(String),
    #[error("the operator '{operator}' cannot be applied to {left} and {right}")]
    NoSuchOperator {
        operator: &'static str,
        left: &'static str,
        right: &'static str,
    },
    #[error("the operator '{operator}' has no result: division by zero or overflow")]
    NoResult { operator: &'static str },
    #[error("a sign before a {kind}")]
    NotNumber { kind: &'static str },
    #[error("{what} must be a string and is a {kind}")]
    NotText {
        what: &'static str,
        kind: &'static str,
    },
    #[error("the escape character of LIKE must be one character")]
    Escape,
    #[error("the changed properties cannot be encoded: {0}")]
    Encoding(String),
}
