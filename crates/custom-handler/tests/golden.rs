//! The host's golden requests are decoded or refused as documented; golden responses are produced.
#![allow(clippy::unwrap_used)] // a test that cannot go on should panic

use axum::response::IntoResponse;
use custom_handler::{DecodeError, Invocation, Reply, RetryContext};
use serde_json::{Value, json};
use time::macros::datetime;
use uuid::uuid;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("golden/", $name, ".json"))
    };
}

fn decode(text: &str) -> Invocation {
    Invocation::decode("id", "Function", None, text.as_bytes()).unwrap()
}

/// G3 with one metadata value replaced.
fn with_metadata(key: &str, value: Value) -> Invocation {
    let mut request: Value = serde_json::from_str(golden!("g3-service-bus-binary")).unwrap();
    request["Metadata"][key] = value;
    decode(&request.to_string())
}

fn with_body(body: Value) -> Invocation {
    let mut request: Value = serde_json::from_str(golden!("g3-service-bus-binary")).unwrap();
    request["Data"]["msg"] = body;
    decode(&request.to_string())
}

#[test]
fn a_string_body_is_refused_and_the_error_names_data_type() {
    for text in [
        golden!("g1-service-bus-string-json"),
        golden!("g2-service-bus-string-text"),
    ] {
        let error = decode(text).service_bus_message("msg").unwrap_err();
        assert!(matches!(error, DecodeError::StringBody { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("\"dataType\": \"binary\" in function.json"),
            "{error}"
        );
    }
}

#[test]
fn a_binary_body_is_decoded_byte_for_byte_with_its_metadata() {
    let message = decode(golden!("g3-service-bus-binary"))
        .service_bus_message("msg")
        .unwrap();
    assert_eq!(&message.body[..], [0x00, 0xFF, 0x10, 0xAB]);
    assert_eq!(
        message.message_id.as_deref(),
        Some("883052175d7f490083127c81826fce10")
    );
    assert_eq!(
        message.lock_token,
        uuid!("0b6a2f0e-52a1-4a39-8f6d-0f4f1d0a6e11")
    );
    assert_eq!((message.delivery_count, message.sequence_number), (2, 1018));
    assert_eq!(message.enqueued_time, datetime!(2026-03-02 09:16:00 UTC));
    assert_eq!(message.expires_at, None);
    assert_eq!(
        (message.correlation_id, message.subject, message.session_id),
        (None, None, None)
    );
    assert!(message.application_properties.is_empty());
}

#[test]
fn base64_that_is_also_json_is_decoded_as_base64() {
    for (encoded, bytes) in [
        ("1234", &[0xD7, 0x6D, 0xF8][..]),
        ("true", &[0xB6, 0xBB, 0x9E]),
        ("", &[]),
    ] {
        let message = with_body(json!(encoded))
            .service_bus_message("msg")
            .unwrap();
        assert_eq!(&message.body[..], bytes);
    }
}

#[test]
fn optional_metadata_is_decoded_when_it_is_there() {
    let mut request: Value = serde_json::from_str(golden!("g1-service-bus-string-json")).unwrap();
    request["Data"]["msg"] = json!("e30=");
    let message = decode(&request.to_string())
        .service_bus_message("msg")
        .unwrap();
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.subject.as_deref(), Some("order.created"));
    assert_eq!(message.correlation_id.as_deref(), Some("corr-1"));
    assert_eq!(message.expires_at, Some(datetime!(2026-03-16 09:15:30 UTC)));
    assert_eq!(message.application_properties["attempt"], json!(3));
    assert_eq!(message.application_properties["urgent"], json!(true));
}

#[test]
fn metadata_in_a_shape_that_only_a_message_body_could_give_it_is_refused() {
    for (key, polluted) in [
        ("MessageId", json!({"nested": 1})),
        ("MessageId", json!("not encoded twice")),
        ("LockToken", json!("\"not a guid\"")),
        ("DeliveryCount", json!("\"1\"")),
        ("DeliveryCount", json!(1)),
        ("DeliveryCount", json!("-1")),
        ("SequenceNumber", json!("\"1018\"")),
        ("EnqueuedTime", json!("\"03/02/2026 09:00:00\"")),
        ("ExpiresAt", json!({})),
        ("ApplicationProperties", json!("\"x\"")),
    ] {
        let error = with_metadata(key, polluted.clone())
            .service_bus_message("msg")
            .unwrap_err();
        assert!(
            matches!(error, DecodeError::Metadata { key: at_fault, .. } if at_fault == key),
            "{key} {polluted}: {error}"
        );
    }
}

#[test]
fn a_batch_is_refused_and_the_error_names_cardinality() {
    let error = decode(golden!("g4-service-bus-batch"))
        .service_bus_message("msgs")
        .unwrap_err();
    assert!(matches!(error, DecodeError::Batch { .. }), "{error}");
    assert!(
        error.to_string().contains("\"cardinality\": \"one\""),
        "{error}"
    );
}

#[test]
fn a_monitored_timer_carries_its_schedule_status() {
    let invocation = decode(golden!("g5-timer-monitored"));
    let timer = invocation.timer("tick").unwrap();
    let status = timer.schedule_status.unwrap();
    assert_eq!(
        status.last,
        Some(datetime!(2026-03-02 09:10:00.012_345_6 UTC))
    );
    assert_eq!(status.next, Some(datetime!(2026-03-02 09:15:00 UTC)));
    assert_eq!(status.last_updated, status.last);
    assert!(!timer.is_past_due);
    assert_eq!(invocation.retry_context(), Ok(None));
}

#[test]
fn a_retried_timer_carries_no_status_and_a_retry_context() {
    let invocation = decode(golden!("g6-timer-retry"));
    assert_eq!(invocation.timer("tick").unwrap().schedule_status, None);
    let retry = RetryContext {
        retry_count: 1,
        max_retry_count: Some(3),
    };
    assert_eq!(invocation.retry_context(), Ok(Some(retry)));
}

#[test]
fn an_http_trigger_is_available_as_the_host_encoded_it_and_is_no_message() {
    let invocation = decode(golden!("g7-http"));
    assert_eq!(invocation.data("req").unwrap()["Method"], json!("POST"));
    for error in [
        invocation.service_bus_message("req").unwrap_err(),
        invocation.timer("req").unwrap_err(),
    ] {
        assert!(matches!(error, DecodeError::WrongShape { .. }), "{error}");
    }
}

#[test]
fn a_binding_under_another_name_is_reported_with_the_names_that_exist() {
    let error = decode(golden!("g3-service-bus-binary"))
        .service_bus_message("message")
        .unwrap_err();
    assert!(
        error.to_string().contains("\"message\"") && error.to_string().contains("found: msg"),
        "{error}"
    );
}

#[test]
fn a_request_that_is_not_an_envelope_is_refused_without_quoting_it() {
    for text in [
        "",
        "null",
        "[]",
        r#"{"Data":{}}"#,
        r#"{"Data":"secret","Metadata":{}}"#,
        r#"{"Data":{"#,
    ] {
        let error = Invocation::decode("id", "Function", None, text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DecodeError::Envelope { .. }) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

async fn sent(reply: Reply) -> Value {
    let response = reply.into_response();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice(
        &axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap(),
    )
    .unwrap()
}

/// The host reads an absent member and a null one alike.
fn without_nulls(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    value
        .as_object_mut()
        .unwrap()
        .retain(|_, member| !member.is_null());
    value
}

#[tokio::test]
async fn replies_are_what_the_host_takes_for_success() {
    assert_eq!(
        sent(Reply::ok()).await,
        without_nulls(golden!("r1-minimal"))
    );
    let reply = Reply::ok()
        .output(
            "outq",
            vec![
                r#"{"orderId":42,"state":"ok"}"#.to_owned(),
                "second".to_owned(),
            ],
        )
        .log("order 42 done");
    assert_eq!(
        sent(reply).await,
        without_nulls(golden!("r2-output-and-logs"))
    );
    let reply = Reply::ok().return_value(vec![r#"{"hello":"world"}"#.to_owned()]);
    assert_eq!(sent(reply).await, without_nulls(golden!("r3-return-value")));
}

#[tokio::test]
async fn outputs_are_always_arrays_of_strings() {
    // R4 answers an HTTP output with an object: a form this crate offers for no output.
    let golden = without_nulls(golden!("r4-http-output"));
    let messages = golden["Outputs"]["outq"].clone();
    let reply = Reply::ok().output("outq", serde_json::from_value(messages.clone()).unwrap());
    assert_eq!(sent(reply).await, json!({"Outputs": {"outq": messages}}));
}
