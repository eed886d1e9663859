//! Every form against rows, and what is said when a row does not fit.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::SyncConfig;

const SHIPPED: &str = include_str!("../../../../sync.json");

/// A table "account" with these fields, and with these further keys.
fn table_with(fields: &Value, more: &Value) -> TableConfig {
    let mut file = json!({"targetSystem": "t", "tables": {"account": {
        "entitySet": "accounts", "primaryKey": "accountid", "fields": fields,
        "target": {"path": "/a/{sourceRowId}"}}}});
    let table = file["tables"]["account"].as_object_mut().unwrap();
    table.extend(more.as_object().unwrap().clone());
    let config = SyncConfig::parse(&file.to_string(), "sync.json").unwrap();
    TableConfig::clone(&config.tables["account"])
}

/// What field "f" makes of these columns.
fn mapped(field: &Value, columns: &Value) -> Result<Option<Value>, Failure> {
    let table = table_with(&json!({"f": field, "other": {"constant": 1}}), &json!({}));
    let payload = map(&table, columns.as_object().unwrap())?;
    Ok(payload.body.get("f").cloned())
}

fn gives(field: &Value, columns: &Value, expected: &Value) {
    assert_eq!(
        mapped(field, columns),
        Ok(Some(expected.clone())),
        "{field}"
    );
}

fn fails(field: &Value, columns: &Value, class: Class, code: &str, says: &str) {
    let failure = mapped(field, columns).unwrap_err();
    assert_eq!((failure.class, failure.code), (class, code), "{failure}");
    assert!(failure.message.contains(says), "{failure}");
    assert!(failure.message.contains("fields.f"), "{failure}");
}

fn contact() -> Map<String, Value> {
    let row = json!({"firstname": "Jo", "lastname": "Doe", "emailaddress1": null, "telephone1": "1",
        "jobtitle": null, "_parentcustomerid_value": null, "versionnumber": 7});
    row.as_object().unwrap().clone()
}

#[test]
fn null_columns_travel_as_null_and_constants_as_written() {
    let config = SyncConfig::parse(SHIPPED, "sync.json").unwrap();
    let payload = map(&config.tables["contact"], &contact()).unwrap();
    assert_eq!(
        Value::Object(payload.body.clone()),
        json!({"customer": null, "email": null, "firstName": "Jo", "fullName": "Jo Doe",
            "lastName": "Doe", "phone": "1", "source": "dynamics365"})
    );
    assert_eq!(payload, map(&config.tables["contact"], &contact()).unwrap());
}

#[test]
fn a_column_behind_a_lookup_travels_and_is_null_where_the_lookup_is() {
    let field = json!("parentcustomerid_account/dvs_targetid");
    let with = |related: Value| json!({"parentcustomerid_account": related});
    gives(&field, &with(json!({"dvs_targetid": "C-1"})), &json!("C-1"));
    gives(&field, &with(json!({"dvs_targetid": null})), &Value::Null);
    gives(&field, &with(Value::Null), &Value::Null);
    for absent in [json!({}), with(json!({}))] {
        let says = "column parentcustomerid_account/dvs_targetid of account";
        fails(&field, &absent, Class::Config, "ColumnMissing", says);
    }
}

#[test]
fn a_column_that_did_not_come_back_is_a_config_failure_that_names_it() {
    let says = "column name of account. Check tables.account.fields.f";
    fails(
        &json!("name"),
        &json!({}),
        Class::Config,
        "ColumnMissing",
        says,
    );
    let inner = json!({"object": {"a": {"object": {"b": "name"}}}});
    let says = "Check tables.account.fields.f.object.a.object.b";
    fails(&inner, &json!({}), Class::Config, "ColumnMissing", says);
}

#[test]
fn an_option_is_translated_or_defaulted_or_rejected_by_name() {
    let strict = json!({"column": "industrycode", "options": {"1": "ACC", "2": 20}});
    gives(&strict, &json!({"industrycode": 1}), &json!("ACC"));
    gives(&strict, &json!({"industrycode": 2}), &json!(20));
    gives(&strict, &json!({"industrycode": null}), &Value::Null);
    let says = "Column industrycode of this account holds an option that tables.account.fields.f.options does not know. Add";
    fails(
        &strict,
        &json!({"industrycode": 47}),
        Class::Permanent,
        "UnknownOption",
        says,
    );
    fails(
        &strict,
        &json!({"industrycode": "x"}),
        Class::Config,
        "WrongColumnType",
        "no choice",
    );
    for default in [json!("OTHER"), Value::Null] {
        let lenient = json!({"column": "c", "options": {"1": "A"}, "default": default});
        gives(&lenient, &json!({"c": 47}), &default);
    }
    let yes = json!({"column": "creditonhold", "options": {"true": "Y", "false": "N"}});
    gives(&yes, &json!({"creditonhold": false}), &json!("N"));
}

#[test]
fn an_options_value_is_shown_only_where_its_column_may_be_logged() {
    let fields = json!({"f": {"column": "industrycode", "options": {"1": "ACC"}}});
    let columns = json!({"industrycode": 4711});
    let said = |more: Value| {
        let table = table_with(&fields, &more);
        map(&table, columns.as_object().unwrap())
            .unwrap_err()
            .message
    };
    assert!(!said(json!({})).contains("4711"));
    assert!(said(json!({"logColumns": ["industrycode"]})).contains("(4711)"));
}

#[test]
fn a_choice_of_several_values_becomes_a_list() {
    let field = json!({"column": "c", "multiSelect": {"100": "de", "101": "en"}});
    gives(&field, &json!({"c": "100,101"}), &json!(["de", "en"]));
    gives(&field, &json!({"c": ""}), &json!([]));
    let says = "fields.f.multiSelect does not know";
    fails(
        &field,
        &json!({"c": "100,102"}),
        Class::Permanent,
        "UnknownOption",
        says,
    );
    fails(
        &field,
        &json!({"c": 100}),
        Class::Config,
        "WrongColumnType",
        "several values",
    );
    let lenient = json!({"column": "c", "multiSelect": {"100": "de"}, "default": "?"});
    gives(&lenient, &json!({"c": "100,102"}), &json!(["de", "?"]));
}

#[test]
fn money_keeps_its_digits_in_each_of_its_forms() {
    let money = |format: Value| json!({"column": "c", "money": format});
    let row = |text: &str| serde_json::from_str::<Value>(&format!("{{\"c\": {text}}}")).unwrap();
    for (decimals, sent, expected) in [
        (2, "1234.5", "1234.50"),
        (2, "20000.0000", "20000.00"),
        (2, "0.1", "0.10"),
        (0, "7.0", "7"),
        (2, "-0.05", "-0.05"),
        (4, "99999999999.9999", "99999999999.9999"),
        (2, "1e3", "1000.00"),
        (2, "922337203685477", "922337203685477.00"),
        (10, "0.0000000001", "0.0000000001"),
    ] {
        gives(
            &money(json!({"decimals": decimals})),
            &row(sent),
            &json!(expected),
        );
    }
    let long = crate::exact::from_slice(br#"{"c": 922337203685477.5807}"#).unwrap();
    let exact = money(json!({"decimals": 4}));
    gives(&exact, &long, &json!("922337203685477.5807"));
    let exact = money(json!({"decimals": 4, "as": "minorUnits"}));
    gives(&exact, &long, &json!(9_223_372_036_854_775_807_i64));
    let number = money(json!({"decimals": 4, "as": "number"}));
    let says = "more digits than a number in JSON carries safely";
    fails(&number, &long, Class::Permanent, "InexactNumber", says);
    fails(&json!("c"), &long, Class::Permanent, "InexactNumber", says);
    let text = json!({"expression": ".c | tostring", "reads": ["c"]});
    gives(&text, &long, &json!("922337203685477.5807"));
    let minor = money(json!({"decimals": 2, "as": "minorUnits"}));
    gives(&minor, &row("1234.5"), &json!(123_450));
    gives(&minor, &row("-0.05"), &json!(-5));
    let number = money(json!({"decimals": 2, "as": "number"}));
    gives(&number, &row("1234.5"), &json!(1234.5));
    gives(&number, &row("100.00"), &json!(100));
    let says = "more digits after the point";
    fails(
        &minor,
        &row("0.125"),
        Class::Permanent,
        "TooManyDigits",
        says,
    );
    for (rounding, expected) in [("halfEven", "0.12"), ("halfUp", "0.13")] {
        let field = money(json!({"decimals": 2, "rounding": rounding}));
        gives(&field, &row("0.125"), &json!(expected));
    }
    fails(
        &minor,
        &json!({"c": "1"}),
        Class::Config,
        "WrongColumnType",
        "no decimal number",
    );
}

#[test]
fn a_time_is_written_in_its_format_in_utc() {
    let at = json!({"c": "2026-03-02T23:15:30-02:00"});
    let day = json!({"c": "2026-03-02"});
    for (format, of_time, of_day) in [
        (
            "rfc3339",
            json!("2026-03-03T01:15:30Z"),
            json!("2026-03-02T00:00:00Z"),
        ),
        ("unixSeconds", json!(1_772_500_530), json!(1_772_409_600)),
        (
            "[day].[month].[year]",
            json!("03.03.2026"),
            json!("02.03.2026"),
        ),
    ] {
        let field = json!({"column": "c", "date": format});
        gives(&field, &at, &of_time);
        gives(&field, &day, &of_day);
    }
    let field = json!({"column": "c", "date": "rfc3339"});
    fails(
        &field,
        &json!({"c": "soon"}),
        Class::Config,
        "WrongColumnType",
        "no date",
    );
}

#[test]
fn a_null_is_sent_left_out_replaced_or_rejected_by_the_field_or_else_by_the_table() {
    let row = json!({"c": null});
    let with = |policy: Value| json!({"column": "c", "ifNull": policy});
    assert_eq!(mapped(&with(json!("omit")), &row), Ok(None));
    gives(&with(json!("null")), &row, &Value::Null);
    gives(&with(json!({"value": "-"})), &row, &json!("-"));
    let says = "Column c of this account is empty";
    fails(
        &with(json!("reject")),
        &row,
        Class::Permanent,
        "NullRejected",
        says,
    );
    let money = json!({"column": "c", "money": {"decimals": 2}, "ifNull": {"value": 0}});
    gives(&money, &row, &json!(0));
    let fields = json!({"a": "c", "b": with(json!("null"))});
    let table = table_with(&fields, &json!({"nulls": "omit"}));
    let payload = map(&table, row.as_object().unwrap()).unwrap();
    assert_eq!(Value::Object(payload.body), json!({"b": null}));
}

#[test]
fn an_expression_sees_the_columns_it_reads_and_no_others() {
    let field = json!({"expression": "keys", "reads": ["b", "x/y"]});
    let row = json!({"a": 1, "b": 2, "x": {"y": 3}});
    gives(&field, &row, &json!(["b", "x/y"]));
    let field = json!({"expression": ".\"x/y\" * 2 + .b", "reads": ["b", "x/y"]});
    gives(&field, &row, &json!(8));
    let nothing = json!({"expression": "empty", "reads": []});
    assert_eq!(mapped(&nothing, &row), Ok(None));
    let null = json!({"expression": "null", "reads": [], "ifNull": {"value": 0}});
    gives(&null, &row, &json!(0));
}

#[test]
fn an_expression_that_fails_on_a_row_is_permanent_and_names_the_field_and_not_the_values() {
    let row = json!({"a": "SECRET"});
    for (expression, says) in [
        (".a - 1", "ended in an error"),
        ("error(.a)", "ended in an error"),
        (".a, .a", "gave more than one value"),
        ("1 / 0", "no JSON"),
        ("[.a * 100000000]", "ended in an error"),
    ] {
        let field = json!({"expression": expression, "reads": ["a"]});
        fails(&field, &row, Class::Permanent, "ExpressionFailed", says);
        let failure = mapped(&field, &row).unwrap_err();
        assert!(!failure.to_string().contains("SECRET"), "{failure}");
    }
    let field = json!({"expression": ".a", "reads": ["a"]});
    let long = json!({"a": "x".repeat(70_000)});
    fails(&field, &long, Class::Permanent, "ExpressionFailed", "65536");
}

#[test]
fn what_might_not_end_or_depends_on_more_than_the_row_is_refused_at_start() {
    for (expression, says) in [
        ("def f: f; f", "may not define"),
        ("repeat(1)", "may not call \"repeat\""),
        ("[range(1000000000)]", "may not call \"range\""),
        ("until(false; .)", "may not call \"until\""),
        ("reduce .[] as $x (0; . + $x)", "may not use reduce"),
        (".a = 1", "may not assign"),
        (".[1000000000] |= 1", "may not assign"),
        ("fromjson", "may not call \"fromjson\""),
        ("now", "may not call \"now\""),
        ("env", "may not call \"env\""),
        ("$ENV", "variable $ENV"),
        ("input", "may not call \"input\""),
        (".a +", "term expected at its end"),
        (".a | )", "at character 6"),
        (".b", "uses .b, which it does not see: add \"b\" to reads"),
    ] {
        let fields = json!({"f": {"expression": expression, "reads": ["a"]}});
        let file = json!({"targetSystem": "t", "tables": {"account": {"entitySet": "a",
            "primaryKey": "a", "fields": fields, "target": {"path": "/a/{sourceRowId}"}}}});
        let text = SyncConfig::parse(&file.to_string(), "sync.json")
            .unwrap_err()
            .to_string();
        let key = "tables.account.fields.f.expression ";
        assert!(
            text.contains(key) && text.contains(says),
            "{expression}: {text}"
        );
    }
}

#[test]
fn a_row_waits_for_the_row_it_requires_unless_its_lookup_is_empty() {
    let more = json!({"requires": [{"lookup": "parentaccountid", "table": "account"}]});
    let table = table_with(&json!({"name": "name"}), &more);
    assert!(table.expand()["parentaccountid"].contains("dvs_targetid"));
    let with = |parent: Value| {
        json!({"parentaccountid": parent})
            .as_object()
            .unwrap()
            .clone()
    };
    let required = |parent: Value| required(&table, &with(parent));
    assert_eq!(required(Value::Null), Ok(()));
    assert_eq!(required(json!({"dvs_targetid": "C-1"})), Ok(()));
    let failure = required(json!({"dvs_targetid": null})).unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Waiting, "ParentNotAcknowledged")
    );
    let failure = required(json!({})).unwrap_err();
    assert_eq!(
        (failure.class, failure.code),
        (Class::Config, "ColumnMissing")
    );
}

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[0-9,. -]{0,12}".prop_map(Value::from),
        "[0-9]{4}-[01][0-9]-[0-3][0-9](T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

static TABLES: LazyLock<SyncConfig> =
    LazyLock::new(|| SyncConfig::parse(SHIPPED, "sync.json").unwrap());

/// Every form, and expressions that do much with a value, on column "c".
static FORMS: LazyLock<Vec<TableConfig>> = LazyLock::new(|| {
    let fields = [
        json!({"column": "c", "options": {"1": 1}}),
        json!({"column": "c", "money": {"decimals": 3, "as": "number", "rounding": "halfUp"}}),
        json!({"column": "c", "money": {"decimals": 10, "as": "minorUnits"}}),
        json!({"column": "c", "date": "[weekday] [hour repr:12] [period] [year]"}),
        json!({"column": "c", "multiSelect": {"1": 1}, "default": 2}),
        json!({"expression": ".c | tostring | gsub(\"[^0-9]+\"; \"\") | tonumber | . * 1.5 | round", "reads": ["c"]}),
        json!({"expression": ".c | [.. | scalars] | map(tojson) | sort | unique | join(\",\") | @base64", "reads": ["c"]}),
        json!({"expression": ".c | strptime(\"%Y-%m-%d\") | mktime | todate | ascii_downcase | explode | implode", "reads": ["c"]}),
    ];
    let table = |field| table_with(&json!({"f": field}), &json!({}));
    fields.iter().map(table).collect()
});

proptest! {
    #[test]
    fn no_row_whatever_it_holds_makes_the_mapping_panic_or_give_two_hashes(
        values in prop::collection::vec(any_json(), 32),
    ) {
        for table in TABLES.tables.values() {
            let mut names: Vec<String> = table.select().into_iter().map(str::to_owned).collect();
            names.extend(table.expand().keys().map(|&name| name.to_owned()));
            let row: Map<String, Value> = names.into_iter().zip(values.iter().cloned()).collect();
            let _ = required(table, &row);
            let first = map(table, &row);
            prop_assert_eq!(&first, &map(table, &row));
        }
    }

    #[test]
    fn no_value_makes_a_form_or_an_expression_panic(value in any_json()) {
        let row = json!({"c": value});
        for table in FORMS.iter() {
            let _ = map(table, row.as_object().unwrap());
        }
    }
}

#[test]
fn every_example_of_the_documentation_gives_what_it_says() {
    let text = include_str!("../../../../docs/mapping.md");
    let examples = text.split("```json\n").skip(1);
    let mut count = 0;
    for example in examples.filter_map(|rest| rest.split("```").next()) {
        let example: Value = serde_json::from_str(example).unwrap();
        gives(&example["field"], &example["row"], &example["gives"]);
        count += 1;
    }
    assert!(count >= 13, "{count}");
}
