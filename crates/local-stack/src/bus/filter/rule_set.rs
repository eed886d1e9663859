//! The rules of one subscription, and the copies of a message they ask for.

use uuid::Uuid;

use super::{EvaluationError, Rule, Subject};
use crate::bus::queue::message::Message;

/// Rules in the order in which they were made.
#[derive(Debug, Clone)]
pub(crate) struct RuleSet(Vec<Rule>);

/// Why the rules were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleSetError {
    #[error("A rule named '{0}' already exists in the subscription.")]
    AlreadyExists(String),
    /// In the words by which the official JavaScript client tells this from other faults.
    #[error("The messaging entity '{0}' could not be found.")]
    NotFound(String),
}

/// What a subscription gets of a message.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) accepted: Vec<Message>,
    /// The first rule that could not be evaluated, if any.
    pub(crate) error: Option<(String, EvaluationError)>,
}

impl RuleSet {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        RuleSet(rules)
    }

    /// Adds a rule; names are compared without regard to case.
    ///
    /// # Errors
    /// When there is one of that name.
    pub(crate) fn add(&mut self, rule: Rule) -> Result<(), RuleSetError> {
        if self.position(rule.name()).is_some() {
            return Err(RuleSetError::AlreadyExists(rule.name().to_owned()));
        }
        self.0.push(rule);
        Ok(())
    }

    /// Takes a rule away, the default one like any other.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), RuleSetError> {
        let position = self
            .position(name)
            .ok_or_else(|| RuleSetError::NotFound(name.to_owned()))?;
        self.0.remove(position);
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The copies of a message: one for all matching rules without an action, and one for each
    /// matching rule with an action. A rule that cannot be evaluated does not keep the others from
    /// matching.
    pub(crate) fn copies(&self, subject: &Subject, fresh: &mut dyn FnMut() -> Uuid) -> Copies {
        let mut copies = Copies::default();
        let mut is_plain = false;
        for rule in &self.0 {
            let copy = match rule.selects(subject, fresh) {
                Ok(true) => rule.act(subject, fresh),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            match copy {
                Ok(Some(changed)) => copies.accepted.push(changed),
                Ok(None) => is_plain = true,
                Err(error) => {
                    copies
                        .error
                        .get_or_insert_with(|| (rule.name().to_owned(), error));
                }
            }
        }
        if is_plain {
            copies.accepted.insert(0, subject.message().clone());
        }
        copies
    }

    fn position(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        self.0
            .iter()
            .position(|rule| rule.name().to_lowercase() == lower)
    }
}
