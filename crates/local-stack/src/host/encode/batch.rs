//! The invocation of a Service Bus trigger with `cardinality: many`.
//!
//! Every value becomes one string that holds a JSON array. Unlike in single dispatch dates keep their
//! fraction, and no body overwrites metadata.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use service_bus::ReceivedMessage;

use super::message::{BusClient, NEVER, application_properties};
use super::text::body_text;
use super::value::{BindingData, NetValue, seven_digits};
use super::{Retry, Sys, envelope};
use crate::host::config::BodyType;

/// Encodes a batch for the binding of that name; `bodies` comes from [`batch_bodies`].
pub(crate) fn encode_batch(
    binding: &str,
    bodies: &[Value],
    messages: &[ReceivedMessage],
    client: &BusClient,
    sys: &Sys,
    retry: Option<&Retry>,
) -> Vec<u8> {
    let mut metadata = BindingData::default();
    client.add_to(&mut metadata);
    for (key, value) in COLUMNS {
        let values = messages.iter().map(value).collect();
        metadata.add(&format!("{key}Array"), NetValue::List(values));
    }
    metadata.add("sys", sys.value());
    if let Some(retry) = retry {
        metadata.set("RetryContext", retry.value());
    }
    let data = Value::String(Value::Array(bodies.to_vec()).to_string());
    envelope(binding, data, metadata)
}

/// What the binding makes of the bodies.
///
/// # Errors
/// When a body must be JSON and is not, which fails the whole batch.
pub(crate) fn batch_bodies(
    body: BodyType,
    messages: &[ReceivedMessage],
) -> Result<Vec<Value>, String> {
    let bodies = messages.iter().map(|message| match body {
        BodyType::Binary => Ok(Value::String(STANDARD.encode(&message.body))),
        BodyType::String => Ok(Value::String(body_text(&message.body))),
        BodyType::Json => serde_json::from_str(&body_text(&message.body)).map_err(|error| {
            format!(
                "message {} is not JSON ({error}), which fails the whole batch: set \"dataType\" in function.json",
                message.sequence_number
            )
        }),
    });
    bodies.collect()
}

type Column = (&'static str, fn(&ReceivedMessage) -> Value);

/// In the order of `ServiceBusTriggerBindingStrategy`.
const COLUMNS: [Column; 21] = [
    // The SDK counts deliveries from 1, the wire failed ones from 0.
    ("DeliveryCount", |m| {
        (i64::from(m.delivery_count) + 1).into()
    }),
    ("DeadLetterSource", |m| text(&m.dead_letter_source)),
    ("LockToken", |m| {
        m.lock_token.unwrap_or_default().to_string().into()
    }),
    ("ExpiresAtUtc", |m| {
        seven_digits(m.expires_at.unwrap_or(NEVER).min(NEVER)).into()
    }),
    ("ExpiresAt", |m| {
        with_offset(m.expires_at.unwrap_or(NEVER).min(NEVER))
    }),
    ("EnqueuedTimeUtc", |m| seven_digits(m.enqueued_time).into()),
    ("EnqueuedTime", |m| with_offset(m.enqueued_time)),
    ("MessageId", |m| text(&m.message_id)),
    ("ContentType", |m| text(&m.content_type)),
    ("ReplyTo", |m| text(&m.reply_to)),
    ("SequenceNumber", |m| m.sequence_number.into()),
    ("To", |m| text(&m.to)),
    ("Subject", |m| text(&m.subject)),
    ("Label", |m| text(&m.subject)),
    ("CorrelationId", |m| text(&m.correlation_id)),
    ("ApplicationProperties", |m| {
        application_properties(m).into()
    }),
    ("UserProperties", |m| application_properties(m).into()),
    ("SessionId", |m| text(&m.session_id)),
    // Not reported by the client.
    ("ReplyToSessionId", |_| Value::Null),
    ("PartitionKey", |m| text(&m.partition_key)),
    // The SDK's mistake: it repeats the partition keys here.
    ("TransactionPartitionKey", |m| text(&m.partition_key)),
];

fn text(value: &Option<String>) -> Value {
    value.clone().into()
}

fn with_offset(date: time::OffsetDateTime) -> Value {
    format!("{}+00:00", seven_digits(date)).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use service_bus::Properties;
    use time::macros::datetime;
    use uuid::uuid;

    use super::super::message::tests::{client, plain, sys};
    use super::*;

    fn messages() -> [ReceivedMessage; 2] {
        let order = ReceivedMessage {
            message_id: Some("m-1".to_owned()),
            content_type: Some("application/json".to_owned()),
            subject: Some("order.created".to_owned()),
            correlation_id: Some("corr-1".to_owned()),
            properties: Properties::from([
                ("tenant".to_owned(), "t1".into()),
                ("attempt".to_owned(), 3.into()),
            ]),
            lock_token: Some(uuid!("7ebe3bcf-bae7-455e-99ea-568500a75173")),
            delivery_count: 0,
            sequence_number: 1017,
            enqueued_time: datetime!(2026-03-02 09:15:30.123 UTC),
            expires_at: Some(datetime!(2026-03-16 09:15:30.123 UTC)),
            ..plain(br#"{"orderId":42}"#)
        };
        let text = ReceivedMessage {
            message_id: Some("m-2".to_owned()),
            delivery_count: 0,
            enqueued_time: datetime!(2026-03-02 09:15:30.456 UTC),
            expires_at: Some(datetime!(2026-03-16 09:15:30.456 UTC)),
            ..plain(b"plain text")
        };
        [order, text]
    }

    #[test]
    fn a_batch_is_encoded_as_in_golden_g4() {
        let messages = messages();
        let bodies = batch_bodies(BodyType::String, &messages).unwrap();
        let body = encode_batch(
            "msgs",
            &bodies,
            &messages,
            &client(),
            &sys("OrderBatch"),
            None,
        );
        let golden =
            include_str!("../../../../custom-handler/tests/golden/g4-service-bus-batch.json");
        let mut golden: Value = serde_json::from_str(golden).unwrap();
        // The client sorts application properties by name, the golden file keeps the sender's order.
        for key in ["ApplicationPropertiesArray", "UserPropertiesArray"] {
            let mut list: Value =
                serde_json::from_str(golden["Metadata"][key].as_str().unwrap()).unwrap();
            list.sort_all_objects();
            golden["Metadata"][key] = json!(list.to_string());
        }
        assert_eq!(String::from_utf8(body).unwrap(), golden.to_string());
    }

    #[test]
    fn bodies_are_bound_by_their_data_type_and_one_that_is_not_json_fails_all() {
        let messages = messages();
        let binary = batch_bodies(BodyType::Binary, &messages[1..]).unwrap();
        assert_eq!(binary, [json!("cGxhaW4gdGV4dA==")]);
        let parsed = batch_bodies(BodyType::Json, &messages[..1]).unwrap();
        assert_eq!(parsed, [json!({"orderId": 42})]);
        let refused = batch_bodies(BodyType::Json, &messages).unwrap_err();
        assert!(refused.contains("1018") && refused.contains("dataType"));
    }
}
