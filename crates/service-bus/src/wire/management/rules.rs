//! `enumerate-rules` ("AMQP 1.0 in Azure Service Bus: request-response-based operations", *Get Rules*;
//! the descriptors are constants of the official JavaScript client).

use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::*;
use crate::rule::{CorrelationFilter, Filter, SubscriptionRule};
use crate::wire::value::from_amqp;

const SQL_ACTION: Code = (0x137_0000_0006, "com.microsoft:sql-rule-action:list");
// Filters have a digit less than actions.
const SQL_FILTER: Code = (0x13_7000_0006, "com.microsoft:sql-filter:list");
const TRUE_FILTER: Code = (0x13_7000_0007, "com.microsoft:true-filter:list");
const FALSE_FILTER: Code = (0x13_7000_0008, "com.microsoft:false-filter:list");
const CORRELATION_FILTER: Code = (0x13_7000_0009, "com.microsoft:correlation-filter:list");

/// A descriptor as number and as symbol; AMQP allows either.
type Code = (u64, &'static str);

impl Request {
    /// A page of a subscription's rules.
    pub(crate) fn rules(skip: u32, top: u32) -> Self {
        let number = |n| Amqp::Int(i32::try_from(n).unwrap_or(i32::MAX));
        let fields = vec![("top", number(top)), ("skip", number(skip))];
        Self::new("com.microsoft:enumerate-rules", fields)
    }
}

impl Response {
    /// The rules of a page; status 204 says that there are none.
    pub(crate) fn rules(self) -> Result<Vec<SubscriptionRule>, ErrorKind> {
        if self.status == 204 {
            return Ok(Vec::new());
        }
        let body = self.success()?.body;
        items(field(&body, "rules"))
            .ok_or_else(|| missing("rules"))?
            .iter()
            .map(|entry| {
                let description = field(entry, "rule-description");
                description.and_then(rule).ok_or_else(unreadable)
            })
            .collect()
    }
}

fn unreadable() -> ErrorKind {
    ErrorKind::Protocol("a rule that is none we know".into())
}

/// Filter, action, name, and in later versions when it was made.
fn rule(description: &Amqp) -> Option<SubscriptionRule> {
    let [filter, action, name, ..] = items(Some(&described(description)?.value))? else {
        return None;
    };
    let action = described(action).filter(|action| is(action, SQL_ACTION));
    Some(SubscriptionRule {
        name: text(name)?.to_owned(),
        filter: self::filter(described(filter)?)?,
        action: action.and_then(expression),
    })
}

fn filter(filter: &Described<Amqp>) -> Option<Filter> {
    if is(filter, TRUE_FILTER) {
        Some(Filter::True)
    } else if is(filter, FALSE_FILTER) {
        Some(Filter::False)
    } else if is(filter, SQL_FILTER) {
        expression(filter).map(Filter::Sql)
    } else if is(filter, CORRELATION_FILTER) {
        correlation(items(Some(&filter.value))?).map(Filter::Correlation)
    } else {
        None
    }
}

fn correlation(fields: &[Amqp]) -> Option<CorrelationFilter> {
    let word = |at: usize| fields.get(at).and_then(text).map(str::to_owned);
    let properties = match fields.get(8) {
        Some(Amqp::Map(map)) => map
            .iter()
            .map(|(name, value)| Some((text(name)?.to_owned(), from_amqp(value.clone())?)))
            .collect::<Option<_>>()?,
        _ => Default::default(),
    };
    Some(CorrelationFilter {
        correlation_id: word(0),
        message_id: word(1),
        to: word(2),
        reply_to: word(3),
        subject: word(4),
        session_id: word(5),
        reply_to_session_id: word(6),
        content_type: word(7),
        properties,
    })
}

/// The SQL text, which is the first field of a filter and of an action.
fn expression(of: &Described<Amqp>) -> Option<String> {
    items(Some(&of.value))?
        .first()
        .and_then(text)
        .map(str::to_owned)
}

fn described(value: &Amqp) -> Option<&Described<Amqp>> {
    match value {
        Amqp::Described(described) => Some(described),
        _ => None,
    }
}

fn is(value: &Described<Amqp>, (code, name): Code) -> bool {
    match &value.descriptor {
        Descriptor::Code(given) => *given == code,
        Descriptor::Name(given) => given.as_str() == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    fn described(code: u64, fields: Vec<Amqp>) -> Amqp {
        Amqp::Described(Box::new(Described {
            descriptor: Descriptor::Code(code),
            value: Amqp::List(fields),
        }))
    }

    fn answer(filters: Vec<Amqp>) -> Response {
        let entry = |filter| {
            let (action, name) = (described(0x137_0000_0005, vec![]), Amqp::String("r".into()));
            let rule = described(0x137_0000_0004, vec![filter, action, name]);
            map(vec![("rule-description", rule)])
        };
        let rules = filters.into_iter().map(entry).collect();
        let body = map(vec![("rules", Amqp::List(rules))]);
        let status = vec![("statusCode", Amqp::Int(200))];
        Response::from_message(outgoing::request(status, body)).unwrap()
    }

    #[test]
    fn a_page_of_rules_is_asked_for_as_the_golden_file_says() {
        let request = Request::rules(100, 50).into_message(Duration::from_secs(15));
        golden::check("enumerate-rules", &outgoing::encode(request).unwrap());
    }

    #[test]
    fn each_kind_of_filter_is_read() {
        let mut fields = vec![Amqp::Null; 8];
        fields[4] = Amqp::String("account".into());
        fields.push(map(vec![("TargetSystem", Amqp::String("erp".into()))]));
        let rules = answer(vec![
            described(TRUE_FILTER.0, vec![]),
            described(FALSE_FILTER.0, vec![]),
            described(SQL_FILTER.0, vec![Amqp::String("1=1".into())]),
            described(CORRELATION_FILTER.0, fields),
        ])
        .rules()
        .unwrap();
        let correlation = CorrelationFilter {
            subject: Some("account".into()),
            properties: [("TargetSystem".to_owned(), "erp".into())].into(),
            ..CorrelationFilter::default()
        };
        let filters: Vec<_> = rules.into_iter().map(|rule| rule.filter).collect();
        assert_eq!(
            filters,
            [
                Filter::True,
                Filter::False,
                Filter::Sql("1=1".into()),
                Filter::Correlation(correlation)
            ]
        );
    }

    #[test]
    fn a_filter_of_an_unknown_kind_is_an_error_rather_than_a_guess() {
        let rules = answer(vec![described(0x13_7000_0099, vec![])]).rules();
        assert!(matches!(rules, Err(ErrorKind::Protocol(_))));
    }

    #[test]
    fn no_rules_are_said_by_status_204() {
        let status = vec![("statusCode", Amqp::Int(204))];
        let response = Response::from_message(outgoing::request(status, Amqp::Null)).unwrap();
        assert_eq!(response.rules().unwrap(), []);
    }
}
