//! Conditions: `OR`, `AND`, `NOT`, and what stands between them.

use super::{Misfit, Node, Parser};
use crate::bus::filter::ast::{Expression, Predicate};

impl Parser<'_> {
    pub(super) fn disjunction(&mut self) -> Result<Node, Misfit> {
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
}
