//! Rules of subscriptions: which messages of a topic a subscription gets, and what is changed on
//! the way (Azure doc "Topic filters and actions").
//!
//! Text becomes pieces ([`lexer`]), pieces a tree ([`parser`], [`ast`]), and the tree is evaluated on
//! one message at a time ([`evaluate`]). Pure: nothing here knows of queues or connections.

mod ast;
mod correlation;
mod error;
mod evaluate;
mod lexer;
mod like;
mod parser;
mod rule_set;
mod subject;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_amqp::Value;
use uuid::Uuid;

use self::ast::{Predicate, Statement};
use self::parser::{Misfit, Parameters};
use self::value::Scalar;
use super::queue::message::Message;

pub use self::correlation::CorrelationFilter;
pub(crate) use self::error::EvaluationError;
pub use self::error::RuleError;
pub(crate) use self::rule_set::{RuleSet, RuleSetError};
pub(crate) use self::subject::Subject;

/// Name of the rule a subscription has from the start.
pub(crate) const DEFAULT_RULE: &str = "$Default";
/// The longest filter or action, in characters (Azure doc "Service Bus quotas").
const MAX_EXPRESSION: usize = 1_024;
/// The most statements of an action (same source).
const MAX_STATEMENTS: usize = 32;
/// The longest name of a rule, in characters (same source).
const MAX_NAME: usize = 50;
/// The property in which a copy made by an action tells its rule ("Topic filters and actions").
const RULE_NAME: &str = "RuleName";

/// A rule: a filter, and perhaps an action on the messages it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    name: String,
    filter: Filter,
    action: Option<Action>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    True,
    Sql(Sql),
    Correlation(CorrelationFilter),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sql {
    pub(crate) expression: String,
    condition: Predicate,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Action {
    expression: String,
    statements: Vec<Statement>,
}

impl Rule {
    /// The rule of a new subscription: every message, unchanged.
    pub fn select_all() -> Self {
        Rule {
            name: DEFAULT_RULE.to_owned(),
            filter: Filter::True,
            action: None,
        }
    }

    /// A rule with a SQL filter, for example `color = 'blue' AND sys.Label LIKE 'order%'`.
    ///
    /// # Errors
    /// When name or expression are not what the service takes.
    pub fn sql(name: impl Into<String>, expression: &str) -> Result<Self, RuleError> {
        Rule::sql_with(name, expression, &BTreeMap::new())
    }

    /// A rule with a SQL filter that uses parameters; `parameters` are by name, with `@` or without.
    ///
    /// # Errors
    /// As for [`Rule::sql`], and when a parameter has no value.
    pub fn sql_with(
        name: impl Into<String>,
        expression: &str,
        parameters: &BTreeMap<String, Value>,
    ) -> Result<Self, RuleError> {
        let parameters: Parameters = parameters
            .iter()
            .map(|(name, value)| {
                let name = name.trim_start_matches('@').to_lowercase();
                (name, Scalar::of(value))
            })
            .collect();
        let condition = read("SqlFilter", expression, |text| {
            parser::filter(text, &parameters)
        })?;
        Rule::named(
            name.into(),
            Filter::Sql(Sql {
                expression: expression.to_owned(),
                condition,
            }),
        )
    }

    /// A rule with a correlation filter.
    ///
    /// # Errors
    /// When the name is not one, or the filter asks for nothing.
    pub fn correlation(
        name: impl Into<String>,
        filter: CorrelationFilter,
    ) -> Result<Self, RuleError> {
        if filter.is_empty() {
            return Err(RuleError::EmptyCorrelation);
        }
        Rule::named(name.into(), Filter::Correlation(filter))
    }

    /// The rule with an action, for example `SET sys.Label = 'urgent'; REMOVE draft`.
    ///
    /// # Errors
    /// When the expression is not what the service takes.
    pub fn with_action(mut self, expression: &str) -> Result<Self, RuleError> {
        let none = Parameters::new();
        let statements = read("Action", expression, |text| parser::action(text, &none))?;
        if statements.len() > MAX_STATEMENTS {
            return Err(RuleError::TooManyStatements {
                count: statements.len(),
                limit: MAX_STATEMENTS,
            });
        }
        self.action = Some(Action {
            expression: expression.to_owned(),
            statements,
        });
        Ok(self)
    }

    /// Its name within the subscription.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The expression of its action.
    pub(crate) fn action(&self) -> Option<&str> {
        Some(&self.action.as_ref()?.expression)
    }

    /// Whether a message is selected.
    ///
    /// # Errors
    /// When the filter cannot be evaluated on it.
    pub(crate) fn selects(
        &self,
        subject: &Subject,
        fresh: &mut dyn FnMut() -> Uuid,
    ) -> Result<bool, EvaluationError> {
        match &self.filter {
            Filter::True => Ok(true),
            Filter::Correlation(filter) => Ok(filter.matches(subject)),
            Filter::Sql(sql) => {
                Ok(evaluate::predicate(&sql.condition, subject, fresh)? == Some(true))
            }
        }
    }

    /// The copy the action makes of a selected message; `None` without an action.
    ///
    /// # Errors
    /// When a statement cannot be carried out on it.
    pub(crate) fn act(
        &self,
        subject: &Subject,
        fresh: &mut dyn FnMut() -> Uuid,
    ) -> Result<Option<Message>, EvaluationError> {
        let Some(action) = &self.action else {
            return Ok(None);
        };
        let mut copy = subject.clone();
        for statement in &action.statements {
            match statement {
                Statement::Set(property, term) => {
                    let value = evaluate::expression(term, &copy, fresh)?;
                    copy.set(property, value)?;
                }
                Statement::Remove(property) => copy.remove(property)?,
            }
        }
        let rule_name = ast::Property::User(RULE_NAME.to_owned());
        copy.set(&rule_name, Some(Scalar::Text(self.name.clone())))?;
        copy.into_message().map(Some)
    }

    fn named(name: String, filter: Filter) -> Result<Self, RuleError> {
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(RuleError::Name);
        }
        Ok(Rule {
            name,
            filter,
            action: None,
        })
    }
}

fn read<T>(
    what: &'static str,
    expression: &str,
    parse: impl FnOnce(&str) -> Result<T, Misfit>,
) -> Result<T, RuleError> {
    let length = expression.chars().count();
    if length > MAX_EXPRESSION {
        return Err(RuleError::TooLong {
            what,
            length,
            limit: MAX_EXPRESSION,
        });
    }
    parse(expression).map_err(|Misfit { position, problem }| RuleError::Syntax {
        what,
        problem,
        position,
        expression: expression.to_owned(),
    })
}
