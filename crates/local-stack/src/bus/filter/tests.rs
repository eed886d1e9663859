//! Filters and actions on messages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_amqp::Value;
use time::macros::datetime;
use uuid::Uuid;

use super::{CorrelationFilter, EvaluationError, Rule, RuleError, RuleSet, Subject};
use crate::bus::queue::message::Message;
use crate::bus::wire::section;
use crate::bus::wire::values::{self, Map};

/// A message of `fields` (by position) and application properties.
fn message(fields: &[(usize, &str)], properties: &[(&str, Value)]) -> Message {
    let mut list = vec![Value::Null; 13];
    for (position, text) in fields {
        list[*position] = Value::String((*text).to_owned());
    }
    let map: Map = properties
        .iter()
        .map(|(name, value)| (Value::String((*name).to_owned()), value.clone()))
        .collect();
    let mut bytes = values::section(section::PROPERTIES, Value::List(list)).unwrap();
    bytes.extend(values::section(section::APPLICATION_PROPERTIES, Value::Map(map)).unwrap());
    let body = Value::Binary(b"x".to_vec().into());
    bytes.extend(values::section(section::DATA, body).unwrap());
    Message::parse(&bytes.into(), &mut || Uuid::from_u128(7)).unwrap()
}

fn subject_of(message: Message) -> Subject {
    Subject::new(message, 42, datetime!(2026-01-05 08:00 UTC))
}

/// The message most tables here ask about.
fn subject() -> Subject {
    subject_of(message(
        &[(0, "id-1"), (3, "order.new"), (5, "corr-1"), (10, "s1")],
        &[
            ("color", text("blue")),
            ("quantity", Value::Int(10)),
            ("price", Value::Double(2.5.into())),
            ("urgent", Value::Bool(true)),
            ("nothing", Value::Null),
            ("Property With ]", text("odd")),
        ],
    ))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn fresh() -> impl FnMut() -> Uuid {
    let mut count = 0;
    move || {
        count += 1;
        Uuid::from_u128(count)
    }
}

/// Evaluates a condition to true, false or unknown.
fn truth(expression: &str) -> Result<Option<bool>, EvaluationError> {
    let positive = Rule::sql("r", expression).unwrap();
    let negative = Rule::sql("r", &format!("NOT ({expression})")).unwrap();
    if positive.selects(&subject(), &mut fresh())? {
        return Ok(Some(true));
    }
    let is_false = negative.selects(&subject(), &mut fresh())?;
    Ok(is_false.then_some(false))
}

fn expect(table: &[(&str, Option<bool>)]) {
    for (expression, expected) in table {
        assert_eq!(truth(expression), Ok(*expected), "{expression}");
    }
}

const T: Option<bool> = Some(true);
const F: Option<bool> = Some(false);
const U: Option<bool> = None;

#[test]
fn and_or_and_not_follow_sqls_three_valued_logic() {
    let terms = [("1=1", T), ("1=0", F), ("missing=1", U)];
    for (left, l) in terms {
        for (right, r) in terms {
            let and = match (l, r) {
                (F, _) | (_, F) => F,
                (T, T) => T,
                _ => U,
            };
            let or = match (l, r) {
                (T, _) | (_, T) => T,
                (F, F) => F,
                _ => U,
            };
            expect(&[
                (&format!("{left} AND {right}"), and),
                (&format!("{left} OR {right}"), or),
            ]);
        }
        expect(&[(&format!("NOT {left}"), l.map(|l| !l))]);
    }
}

#[test]
fn comparisons_promote_numbers_and_heed_case() {
    expect(&[
        ("color = 'blue'", T),
        ("color = 'Blue'", F),
        ("COLOR <> 'red'", T),
        ("color != 'blue'", F),
        ("user.quantity = 10", T),
        ("quantity = 10.0", T),
        ("quantity >= 10 AND quantity <= 10", T),
        ("quantity > 10 OR quantity < 10", F),
        ("price > 2 AND price < 3", T),
        ("price = 25e-1", T),
        ("urgent = TRUE", T),
        ("urgent <> false", T),
        ("nothing = 1", U),
        ("missing = 'x'", U),
        ("missing <> 'x'", U),
        ("quantity = NULL", U),
        ("sys.Label = 'order.new' AND sys.Subject = 'order.new'", T),
        ("sys.messageid = 'id-1' AND sys.SESSIONID = 's1'", T),
        ("sys.To = 'x'", U),
        ("sys.SequenceNumber = 42", T),
        ("[Property With ]]] = 'odd' AND \"color\" = 'blue'", T),
        ("property('color') = 'blue' AND p('col' + 'or') = 'blue'", T),
        ("newid() <> newid()", T),
    ]);
}

#[test]
fn arithmetic_binds_as_in_csharp() {
    expect(&[
        ("quantity / 3 = 3", T),
        ("quantity % 3 = 1", T),
        ("quantity / 4.0 = 2.5", T),
        ("2 + 3 * 2 = 8 AND (2 + 3) * 2 = 10", T),
        ("10 - 3 - 2 = 5", T),
        ("-quantity = -10 AND - -quantity = +10", T),
        ("color + '!' = 'blue!'", T),
        ("missing + 1 = 1", U),
        ("-missing = 1", U),
    ]);
}

#[test]
fn null_tests_in_lists_and_patterns_know_the_unknown() {
    expect(&[
        ("missing IS NULL AND nothing IS NULL", T),
        ("color IS NULL", F),
        ("color IS NOT NULL AND sys.To IS NULL", T),
        (
            "EXISTS(color) AND EXISTS(nothing) AND NOT EXISTS(missing)",
            T,
        ),
        ("EXISTS(sys.Label)", T),
        ("color IN ('red', 'blue')", T),
        ("color NOT IN ('red', 'blue')", F),
        ("quantity IN (1, 2)", F),
        ("missing IN ('red')", U),
        ("missing NOT IN ('red')", U),
        ("color IN ('red', missing)", U),
        ("color IN ('blue', missing)", T),
        ("color LIKE 'bl%'", T),
        (
            "color LIKE 'b_ue' AND color LIKE '%' AND color LIKE '%%u%'",
            T,
        ),
        ("color LIKE 'b_e'", F),
        ("color NOT LIKE 'r%'", T),
        ("missing LIKE '%'", U),
        ("color LIKE missing", U),
        ("'50%' LIKE '50!%' ESCAPE '!'", T),
        ("'500' LIKE '50!%' ESCAPE '!'", F),
        ("sys.Label LIKE 'order.%'", T),
    ]);
}

#[test]
fn a_pattern_of_many_wildcards_costs_no_more_than_text_times_pattern() {
    let pattern = "%a".repeat(200);
    let rule = Rule::sql("r", &format!("color LIKE '{pattern}b'")).unwrap();
    let long = subject_of(message(&[], &[("color", text(&"a".repeat(5_000)))]));
    assert!(!rule.selects(&long, &mut fresh()).unwrap());
}

#[test]
fn what_csharp_would_not_compile_is_an_evaluation_error() {
    for (expression, problem) in [
        ("color = 1", "'=' cannot be applied to string and long"),
        ("color < 'x'", "'<' cannot be applied to string and string"),
        (
            "urgent > false",
            "'>' cannot be applied to boolean and boolean",
        ),
        (
            "quantity + color = 1",
            "'+' cannot be applied to long and string",
        ),
        ("quantity / 0 = 1", "'/' has no result"),
        ("9223372036854775807 + quantity = 1", "'+' has no result"),
        (
            "quantity LIKE '1%'",
            "what LIKE compares must be a string and is a long",
        ),
        ("-color = 1", "a sign before a string"),
        ("color LIKE 'x' ESCAPE 'ab'", "must be one character"),
        ("sys.Colour = 'x'", "no system property 'Colour'"),
    ] {
        let error = truth(expression).unwrap_err().to_string();
        assert!(error.contains(problem), "{expression}: {error}");
    }
    // What need not be looked at is not.
    expect(&[("1=0 AND sys.Colour = 'x'", F)]);
}

#[test]
fn a_malformed_expression_is_refused_with_its_place() {
    for (expression, problem) in [
        ("", "ends where a value is expected at character 1"),
        ("color = ", "ends where a value is expected at character 9"),
        ("color == 'x'", "expects a value at character 8"),
        ("color = 'x", "has no closing ' at character 9"),
        ("color", "has a value where a condition is expected"),
        ("1 AND 1=1", "has a value where a condition is expected"),
        ("(1=1) + 1 = 2", "has a condition where a value is expected"),
        ("a=1 b=2", "goes on after its end at character 5"),
        (
            "sys.in = 1",
            "keyword in where a property is expected; write [in]",
        ),
        ("other.color = 1", "unknown scope other"),
        ("length(color) = 1", "unknown function length()"),
        ("a = @x", "has no value for its parameter @x"),
        ("a IN ()", "expects a value"),
        (
            "1 IS NULL",
            "IS NULL after something that is not a property",
        ),
        ("a = 99999999999999999999", "which is too large"),
        ("a = 1x", "letters right after a number"),
        ("a = #", "unexpected '#'"),
    ] {
        let error = Rule::sql("r", expression).unwrap_err().to_string();
        assert!(error.contains(problem), "{expression}: {error}");
    }
    let deep = format!("{}1=1{}", "(".repeat(100), ")".repeat(100));
    let error = Rule::sql("r", &deep).unwrap_err().to_string();
    assert!(error.contains("nested too deeply"), "{error}");
    assert!(matches!(
        Rule::sql("r", &format!("a = '{}'", "x".repeat(1_024))),
        Err(RuleError::TooLong { length: 1_030, .. })
    ));
    assert_eq!(Rule::sql("", "1=1"), Err(RuleError::Name));
}

#[test]
fn parameters_stand_for_values() {
    let parameters = BTreeMap::from([
        ("@color".to_owned(), text("blue")),
        ("least".to_owned(), Value::Long(10)),
    ]);
    let rule = Rule::sql_with("r", "color = @Color AND quantity >= @least", &parameters).unwrap();
    assert!(rule.selects(&subject(), &mut fresh()).unwrap());
}

#[test]
fn a_correlation_filter_wants_everything_it_names_in_its_exact_type() {
    let filter = CorrelationFilter {
        correlation_id: Some("corr-1".into()),
        label: Some("order.new".into()),
        properties: BTreeMap::from([("quantity".to_owned(), Value::Int(10))]),
        ..CorrelationFilter::default()
    };
    let matches = |filter: CorrelationFilter| {
        let rule = Rule::correlation("r", filter).unwrap();
        rule.selects(&subject(), &mut fresh()).unwrap()
    };
    assert!(matches(filter.clone()));
    let wrong_case = CorrelationFilter {
        label: Some("Order.new".into()),
        ..filter.clone()
    };
    assert!(!matches(wrong_case));
    let long = BTreeMap::from([("quantity".to_owned(), Value::Long(10))]);
    assert!(!matches(CorrelationFilter {
        properties: long,
        ..filter
    }));
    assert_eq!(
        Rule::correlation("r", CorrelationFilter::default()),
        Err(RuleError::EmptyCorrelation)
    );
}

fn acted(action: &str) -> Result<Option<Message>, EvaluationError> {
    let rule = Rule::sql("r", "1=1").unwrap().with_action(action).unwrap();
    rule.act(&subject(), &mut fresh())
}

#[test]
fn an_action_changes_the_copy_and_names_its_rule() {
    let copy = acted(
        "SET quantity = quantity / 2; SET [new one] = color + '!' REMOVE urgent; \
         SET sys.Label = 'changed'; SET sys.To = property('color'); REMOVE sys.SessionId; \
         REMOVE missing",
    )
    .unwrap()
    .unwrap();
    let properties = copy.application_property_map();
    let get = |name: &str| properties.get(&text(name));
    // Of the type it had.
    assert_eq!(get("quantity"), Some(&Value::Int(5)));
    assert_eq!(get("new one"), Some(&text("blue!")));
    assert_eq!(get("urgent"), None);
    assert_eq!(get("color"), Some(&text("blue")));
    assert_eq!(get("RuleName"), Some(&text("r")));
    let fields = copy.property_fields();
    assert_eq!(fields[3], text("changed"));
    assert_eq!(fields[2], text("blue"));
    assert_eq!(fields[10], Value::Null);
    assert_eq!(fields[0], text("id-1"));
    // The message it was copied from is as it was.
    assert_eq!(subject().message().property_fields()[3], text("order.new"));
}

#[test]
fn an_action_may_give_the_copy_another_message_id() {
    let copy = acted("SET sys.MessageId = 'other'").unwrap().unwrap();
    assert_eq!(&*copy.id, "other");
}

#[test]
fn an_action_may_move_the_copy_to_another_session_or_out_of_any() {
    let session = |action| acted(action).unwrap().unwrap().session;
    assert_eq!(session("SET n = 1").as_deref(), Some("s1"));
    assert_eq!(session("SET sys.SessionId = 's2'").as_deref(), Some("s2"));
    assert_eq!(session("SET sys.SessionId = ''"), None);
}

#[test]
fn an_action_on_what_is_not_there_to_be_set_fails() {
    for (action, expected) in [
        (
            "SET sys.Colour = 'x'",
            EvaluationError::NoSuchSystemProperty("Colour".into()),
        ),
        (
            "SET sys.SequenceNumber = 7",
            EvaluationError::ReadOnly("SequenceNumber".into()),
        ),
        (
            "REMOVE sys.MessageId",
            EvaluationError::ReadOnly("MessageId".into()),
        ),
    ] {
        assert_eq!(acted(action).unwrap_err(), expected, "{action}");
    }
}

#[test]
fn a_malformed_action_is_refused() {
    for (action, problem) in [
        ("", "has no statement"),
        ("color = 1", "expects SET or REMOVE"),
        ("SET color", "expects ="),
        ("REMOVE", "expects a property"),
        ("SET color = 1=1", "expects SET or REMOVE"),
    ] {
        let rule = Rule::sql("r", "1=1").unwrap();
        let error = rule.with_action(action).unwrap_err().to_string();
        assert!(error.contains(problem), "{action}: {error}");
    }
    let rule = Rule::sql("r", "1=1").unwrap();
    let many = "REMOVE a ".repeat(33);
    let refused = rule.with_action(&many).unwrap_err();
    assert_eq!(
        refused,
        RuleError::TooManyStatements {
            count: 33,
            limit: 32
        }
    );
}

#[test]
fn rules_without_an_action_give_one_copy_together_and_those_with_one_each_their_own() {
    let with = |name: &str, action: &str| {
        let rule = Rule::sql(name, "1=1").unwrap();
        rule.with_action(action).unwrap()
    };
    let rules = RuleSet::new(vec![
        Rule::sql("a", "color = 'blue'").unwrap(),
        with("b", "SET n = 1"),
        Rule::sql("c", "quantity = 10").unwrap(),
        with("d", "SET n = 2"),
        Rule::sql("e", "1=0").unwrap(),
        Rule::sql("f", "sys.Colour = 'x'").unwrap(),
    ]);
    let copies = rules.copies(&subject(), &mut fresh());
    let names: Vec<_> = copies
        .accepted
        .iter()
        .map(|copy| values::get(&copy.application_property_map(), "RuleName").cloned())
        .collect();
    assert_eq!(names, [None, Some(text("b")), Some(text("d"))]);
    assert_eq!(copies.error.unwrap().0, "f");
}

/// Pieces of the language in any order, and any text at all.
fn any_expression() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "sys.",
        "user.",
        "[b c]",
        "\"d\"",
        "'x'",
        "1",
        "2.5",
        "1e3",
        "@p",
        "(",
        ")",
        ",",
        ";",
        "=",
        "<>",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "AND",
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "ESCAPE",
        "IS",
        "NULL",
        "EXISTS",
        "TRUE",
        "SET",
        "REMOVE",
        "property(",
        "newid()",
        "'",
        "[",
        "é",
        ".",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.join(" ")),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_expression_makes_the_parser_or_the_evaluation_panic(expression in any_expression()) {
        if let Ok(rule) = Rule::sql("r", &expression) {
            let _ = rule.selects(&subject(), &mut fresh());
        }
        if let Ok(rule) = Rule::select_all().with_action(&expression) {
            let _ = rule.act(&subject(), &mut fresh());
        }
    }

    #[test]
    fn a_conjunction_is_true_only_if_both_its_sides_are(left in any_expression(), right in any_expression()) {
        let holds = |expression: &str| {
            let rule = Rule::sql("r", expression).ok()?;
            rule.selects(&subject(), &mut fresh()).ok()
        };
        if let (Some(left_holds), Some(right_holds), Some(both)) =
            (holds(&left), holds(&right), holds(&format!("({left}) AND ({right})")))
        {
            prop_assert_eq!(both, left_holds && right_holds);
        }
    }
}
