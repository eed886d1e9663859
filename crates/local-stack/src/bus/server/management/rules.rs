//! The rules of a subscription: `add-rule`, `remove-rule`, `enumerate-rules`.
//!
//! Descriptors and the order of fields: Azure doc "AMQP 1.0 in Azure Service Bus: request-response-based
//! operations", *Get Rules*, and the constants of the official JavaScript client.

use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::answer::{Answer, Refusal};
use super::body::Body;
use crate::bus::filter::{CorrelationFilter, Filter, Rule};
use crate::bus::server::entity::{Entity, Rules};
use crate::bus::wire::values::Map;

const RULE_DESCRIPTION: u64 = 0x137_0000_0004;
const EMPTY_ACTION: u64 = 0x137_0000_0005;
const SQL_ACTION: u64 = 0x137_0000_0006;
/// Filters have a digit less than rules and actions.
const SQL_FILTER: u64 = 0x13_7000_0006;
const TRUE_FILTER: u64 = 0x13_7000_0007;
const CORRELATION_FILTER: u64 = 0x13_7000_0009;

/// `add-rule`.
pub(super) fn add(entity: &Entity, body: &Body<'_>) -> Result<Answer, Refusal> {
    of(entity)?;
    let rule = rule(body)?;
    entity.change_rules(|rules| rules.add(rule))?;
    Ok(Answer::ok())
}

/// `remove-rule`.
pub(super) fn remove(entity: &Entity, body: &Body<'_>) -> Result<Answer, Refusal> {
    of(entity)?;
    let name = name(body)?;
    entity.change_rules(|rules| rules.remove(name))?;
    Ok(Answer::ok())
}

/// `enumerate-rules`: a page of them, in the order in which they were made.
pub(super) fn list(entity: &Entity, body: &Body<'_>) -> Result<Answer, Refusal> {
    let rules = of(entity)?;
    let skip = usize::try_from(body.integer("skip")?).unwrap_or(0);
    let top = usize::try_from(body.integer("top")?).unwrap_or(0);
    let page: Vec<Value> = rules.with(|rules| {
        let page = rules.iter().skip(skip).take(top);
        page.map(|rule| {
            let mut map = Map::new();
            let name = Value::String("rule-description".to_owned());
            map.insert(name, description(rule));
            Value::Map(map)
        })
        .collect()
    });
    if page.is_empty() {
        return Ok(Answer::nothing());
    }
    Ok(Answer::with("rules", Value::List(page)))
}

fn of(entity: &Entity) -> Result<&Rules, Refusal> {
    entity
        .rules()
        .ok_or_else(|| Refusal::not_allowed(format!("'{}' is not a subscription", entity.name)))
}

fn name<'r>(body: &Body<'r>) -> Result<&'r str, Refusal> {
    body.text("rule-name")
        .ok_or_else(|| Refusal::bad_argument("the request has no 'rule-name' that is text"))
}

fn rule(body: &Body<'_>) -> Result<Rule, Refusal> {
    let name = name(body)?;
    let description = body
        .get("rule-description")
        .ok_or_else(|| Refusal::bad_argument("the request has no 'rule-description'"))?;
    let description = Body::inside(description)?;
    let rule = match (
        description.get("sql-filter"),
        description.get("correlation-filter"),
    ) {
        (Some(sql), None) => Rule::sql(name, expression(sql)?)?,
        (None, Some(filter)) => Rule::correlation(name, correlation(&Body::inside(filter)?))?,
        _ => {
            let text = "a rule has either a sql-filter or a correlation-filter";
            return Err(Refusal::bad_argument(text));
        }
    };
    match description.get("sql-rule-action") {
        Some(action) => Ok(rule.with_action(expression(action)?)?),
        None => Ok(rule),
    }
}

fn expression(map: &Value) -> Result<&str, Refusal> {
    Body::inside(map)?
        .text("expression")
        .ok_or_else(|| Refusal::bad_argument("a SQL filter or action without 'expression'"))
}

fn correlation(body: &Body<'_>) -> CorrelationFilter {
    let text = |name: &str| body.text(name).map(str::to_owned);
    CorrelationFilter {
        correlation_id: text("correlation-id"),
        message_id: text("message-id"),
        to: text("to"),
        reply_to: text("reply-to"),
        label: text("label"),
        session_id: text("session-id"),
        reply_to_session_id: text("reply-to-session-id"),
        content_type: text("content-type"),
        properties: body.properties("properties").into_iter().collect(),
    }
}

fn description(rule: &Rule) -> Value {
    let filter = match rule.filter() {
        Filter::True => described(TRUE_FILTER, Vec::new()),
        Filter::Sql(sql) => described(SQL_FILTER, vec![Value::String(sql.expression.clone())]),
        Filter::Correlation(filter) => described(CORRELATION_FILTER, fields(filter)),
    };
    let action = match rule.action() {
        Some(expression) => described(SQL_ACTION, vec![Value::String(expression.to_owned())]),
        None => described(EMPTY_ACTION, Vec::new()),
    };
    let name = Value::String(rule.name().to_owned());
    described(RULE_DESCRIPTION, vec![filter, action, name])
}

fn fields(filter: &CorrelationFilter) -> Vec<Value> {
    let mut fields: Vec<Value> = filter
        .texts()
        .into_iter()
        .map(|text| text.cloned().map_or(Value::Null, Value::String))
        .collect();
    let properties: Map = filter
        .properties
        .iter()
        .map(|(name, value)| (Value::String(name.clone()), value.clone()))
        .collect();
    fields.push(Value::Map(properties));
    fields
}

fn described(code: u64, fields: Vec<Value>) -> Value {
    Value::Described(Box::new(Described {
        descriptor: Descriptor::Code(code),
        value: Value::List(fields),
    }))
}
