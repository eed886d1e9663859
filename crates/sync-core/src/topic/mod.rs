//! Outbound as a topic with one subscription per target: who a retry copy is for, and whether the
//! rules of a subscription heed that. Pure.
//!
//! A new notification names no target and reaches every subscription. A retry copy goes back to the
//! topic too, since nothing can be sent to a subscription; it names its target in an application
//! property, and the rules keep it out of the other subscriptions.

mod sql;

use service_bus::{Filter, SubscriptionRule, Value};

use sql::Sql;

/// Application property of a retry copy on a topic: the `targetSystem` it is for.
pub const TARGET_SYSTEM: &str = "TargetSystem";

/// The expression of the one rule that a subscription needs.
#[must_use]
pub fn expression(target: &str) -> String {
    let quoted = target.replace('\'', "''");
    format!("{TARGET_SYSTEM} IS NULL OR {TARGET_SYSTEM} = '{quoted}'")
}

/// What the rules of a subscription do with retry copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They let in the copies of this target, and no others.
    Fits,
    /// They do not; what would happen, and the rules as they are.
    Wrong {
        /// What would happen to a copy.
        problem: &'static str,
        /// Each rule by name and filter.
        rules: String,
    },
    /// They ask for something that is not known before a message is seen.
    CannotTell {
        /// Each rule by name and filter.
        rules: String,
    },
}

/// Judges the rules of the subscription that serves `target`.
#[must_use]
pub fn judge(rules: &[SubscriptionRule], target: &str) -> Verdict {
    let filters: Vec<Known<'_>> = rules.iter().map(|rule| Known::of(&rule.filter)).collect();
    // Any one rule is enough to get in.
    let lets_in = |name: &str| {
        let all = filters.iter().map(|filter| filter.lets_in(name));
        all.fold(Some(false), sql::or)
    };
    // A name that nobody wrote down, and every one that a rule mentions.
    let stranger = format!("not {target}");
    let mentioned = filters.iter().flat_map(Known::names);
    let others = mentioned.chain([stranger.as_str()]);
    let others = others.filter(|name| !name.eq_ignore_ascii_case(target));
    let others = others.map(lets_in).fold(Some(false), sql::or);
    let rules = || describe(rules);
    match (lets_in(target), others) {
        (_, Some(true)) => Verdict::Wrong {
            problem: "would let in retry copies that are for another target",
            rules: rules(),
        },
        (Some(false), _) => Verdict::Wrong {
            problem: "would keep out the retry copies of this very target, and they would be lost",
            rules: rules(),
        },
        (Some(true), Some(false)) => Verdict::Fits,
        _ => Verdict::CannotTell { rules: rules() },
    }
}

/// The one target whose copies the rules of a subscription let in; `None` if there is no such target, or
/// that cannot be told.
#[must_use]
pub fn target(rules: &[SubscriptionRule]) -> Option<String> {
    let filters: Vec<Known<'_>> = rules.iter().map(|rule| Known::of(&rule.filter)).collect();
    let mut names = filters.iter().flat_map(Known::names);
    let target = names.find(|name| judge(rules, name) == Verdict::Fits)?;
    Some(target.to_owned())
}

/// A filter, as far as it can be told from the target's name alone.
enum Known<'a> {
    Always(Option<bool>),
    Named(&'a str),
    Sql(Sql),
}

impl<'a> Known<'a> {
    fn of(filter: &'a Filter) -> Self {
        match filter {
            Filter::True => Self::Always(Some(true)),
            Filter::False => Self::Always(Some(false)),
            Filter::Sql(text) => Sql::parse(text).map_or(Self::Always(None), Self::Sql),
            Filter::Correlation(wanted) => {
                let by_name = |name: &String| name.eq_ignore_ascii_case(TARGET_SYSTEM);
                let mut properties = wanted.properties.iter();
                match properties.find(|(name, _)| by_name(name)) {
                    Some((_, Value::String(target))) if is_all(wanted) => Self::Named(target),
                    _ => Self::Always(None),
                }
            }
        }
    }

    fn lets_in(&self, target: &str) -> Option<bool> {
        match self {
            Self::Always(answer) => *answer,
            Self::Named(name) => Some(*name == target),
            Self::Sql(sql) => sql.evaluate(target),
        }
    }

    fn names(&self) -> Vec<&str> {
        match self {
            Self::Always(_) => Vec::new(),
            Self::Named(name) => vec![name],
            Self::Sql(sql) => sql.names(),
        }
    }
}

/// Whether the target's name is all that the filter asks for.
fn is_all(filter: &service_bus::CorrelationFilter) -> bool {
    let alone = service_bus::CorrelationFilter {
        properties: filter.properties.clone(),
        ..service_bus::CorrelationFilter::default()
    };
    filter.properties.len() == 1 && *filter == alone
}

fn describe(rules: &[SubscriptionRule]) -> String {
    if rules.is_empty() {
        return "it has no rules".into();
    }
    let each = rules.iter().map(|rule| {
        let filter = match &rule.filter {
            Filter::True => "lets everything in".to_owned(),
            Filter::False => "lets nothing in".to_owned(),
            Filter::Sql(expression) => format!("is the SQL filter \"{expression}\""),
            Filter::Correlation(_) => "is a correlation filter".to_owned(),
        };
        format!("rule {} {filter}", rule.name)
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use service_bus::CorrelationFilter;

    use super::*;

    fn rule(filter: Filter) -> SubscriptionRule {
        SubscriptionRule {
            name: "r".into(),
            filter,
            action: None,
        }
    }

    fn sql(text: &str) -> SubscriptionRule {
        rule(Filter::Sql(text.into()))
    }

    fn is_wrong(rules: &[SubscriptionRule], about: &str) -> bool {
        matches!(judge(rules, "erp"), Verdict::Wrong { problem, .. } if problem.contains(about))
    }

    #[test]
    fn the_expression_we_ask_for_fits_whatever_the_targets_name() {
        for target in ["erp", "customer-api", "O'Brien"] {
            assert_eq!(judge(&[sql(&expression(target))], target), Verdict::Fits);
        }
    }

    #[test]
    fn the_rules_say_whose_subscription_it_is() {
        let named = |rules: &[SubscriptionRule]| target(rules);
        assert_eq!(named(&[sql(&expression("erp"))]).as_deref(), Some("erp"));
        assert_eq!(named(&[rule(Filter::True)]), None);
        let two = sql("TargetSystem IS NULL OR TargetSystem IN ('erp', 'crm')");
        assert_eq!(named(&[two]), None);
    }

    #[test]
    fn the_rule_every_new_subscription_has_lets_in_copies_of_other_targets() {
        for filter in [Filter::True, Filter::Sql("1=1".into())] {
            assert!(is_wrong(&[rule(filter)], "another target"));
        }
        // Also beside the right one: any rule is enough to get in.
        let both = [sql(&expression("erp")), rule(Filter::True)];
        assert!(is_wrong(&both, "another target"));
    }

    #[test]
    fn a_rule_made_for_another_target_is_found_out() {
        assert!(is_wrong(&[sql(&expression("crm"))], "another target"));
        let two = sql("TargetSystem IS NULL OR TargetSystem IN ('erp', 'crm')");
        assert!(is_wrong(&[two], "another target"));
        assert!(is_wrong(&[sql("TargetSystem <> 'crm'")], "another target"));
    }

    #[test]
    fn rules_that_keep_the_targets_own_copies_out_are_wrong() {
        assert!(is_wrong(&[], "this very target"));
        assert!(is_wrong(&[rule(Filter::False)], "this very target"));
        assert!(is_wrong(&[sql("TargetSystem IS NULL")], "this very target"));
        assert!(is_wrong(
            &[sql("NOT (EXISTS(TargetSystem))")],
            "this very target"
        ));
    }

    #[test]
    fn one_rule_for_new_notifications_and_a_correlation_filter_for_the_copies_fit() {
        let copies = |name: &str| {
            rule(Filter::Correlation(CorrelationFilter {
                properties: [(TARGET_SYSTEM.to_owned(), name.into())].into(),
                ..CorrelationFilter::default()
            }))
        };
        let new = sql("user.[TargetSystem] is null");
        assert_eq!(judge(&[new.clone(), copies("erp")], "erp"), Verdict::Fits);
        assert!(is_wrong(&[new, copies("crm")], "another target"));
    }

    #[test]
    fn what_depends_on_the_message_cannot_be_told() {
        for text in [
            "TargetSystem = 'erp' AND sys.Label = 'account'",
            "TargetSystem LIKE 'e%'",
            "TargetSystem = 'erp' OR amount > 3 + 4",
            "no ( sql",
        ] {
            let verdict = judge(&[sql(text)], "erp");
            assert!(
                matches!(verdict, Verdict::CannotTell { .. }),
                "{text}: {verdict:?}"
            );
        }
        // A part that cannot be told does no harm where it makes no difference.
        let text = "(TargetSystem IS NULL AND sys.Label = 'account') OR TargetSystem = 'erp'";
        assert_eq!(judge(&[sql(text)], "erp"), Verdict::Fits);
    }
}
