//! The invocation of a Service Bus trigger, single dispatch.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};
use service_bus::ReceivedMessage;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::pollution::pollute;
use super::text::body_text;
use super::value::{BindingData, NetValue, seven_digits};
use super::{Retry, Sys, envelope, object};
use crate::host::config::BodyType;

/// .NET's `DateTimeOffset.MaxValue`, which stands for "never".
pub(super) const NEVER: OffsetDateTime = datetime!(9999-12-31 23:59:59.9999999 UTC);

/// The host's own Service Bus client, which it shows in the metadata.
#[derive(Debug, Clone)]
pub(crate) struct BusClient {
    pub(crate) namespace: String,
    pub(crate) id: Uuid,
    /// End of the session's lock, when the message came from a session.
    pub(crate) session_locked_until: Option<OffsetDateTime>,
}

/// Encodes one message for the binding of that name.
///
/// `ReplyToSessionId` and `TransactionPartitionKey`, which the client does not report, are always
/// absent.
pub(crate) fn encode_message(
    binding: &str,
    body: BodyType,
    message: &ReceivedMessage,
    client: &BusClient,
    sys: &Sys,
    retry: Option<&Retry>,
) -> Vec<u8> {
    let mut metadata = metadata(message, client);
    metadata.add("sys", sys.value());
    let data = match body {
        BodyType::Binary => Value::String(STANDARD.encode(&message.body)),
        BodyType::String | BodyType::Json => {
            let text = body_text(&message.body);
            pollute(&mut metadata, &text);
            Value::String(Value::String(text).to_string())
        }
    };
    if let Some(retry) = retry {
        metadata.set("RetryContext", retry.value());
    }
    envelope(binding, data, metadata)
}

fn metadata(message: &ReceivedMessage, client: &BusClient) -> BindingData {
    let text = |value: &Option<String>| NetValue::text(value.as_deref());
    let expires_at = message.expires_at.unwrap_or(NEVER).min(NEVER);
    let properties = application_properties(message);
    let mut data = BindingData::default();
    client.add_to(&mut data);
    // The SDK counts deliveries from 1, the wire failed ones from 0.
    data.add(
        "DeliveryCount",
        NetValue::Number(i64::from(message.delivery_count) + 1),
    );
    data.add("DeadLetterSource", text(&message.dead_letter_source));
    let lock_token = message.lock_token.unwrap_or_default();
    data.add("LockToken", NetValue::Text(lock_token.to_string()));
    data.add("ExpiresAtUtc", NetValue::DateTime(expires_at));
    data.add("ExpiresAt", NetValue::DateTimeOffset(expires_at));
    data.add("EnqueuedTimeUtc", NetValue::DateTime(message.enqueued_time));
    data.add(
        "EnqueuedTime",
        NetValue::DateTimeOffset(message.enqueued_time),
    );
    data.add("MessageId", text(&message.message_id));
    data.add("ContentType", text(&message.content_type));
    data.add("ReplyTo", text(&message.reply_to));
    data.add("SequenceNumber", NetValue::Number(message.sequence_number));
    data.add("To", text(&message.to));
    data.add("Subject", text(&message.subject));
    data.add("Label", text(&message.subject));
    data.add("CorrelationId", text(&message.correlation_id));
    data.add(
        "ApplicationProperties",
        NetValue::Object(properties.clone()),
    );
    data.add("UserProperties", NetValue::Object(properties));
    data.add("SessionId", text(&message.session_id));
    data.add("PartitionKey", text(&message.partition_key));
    data
}

impl BusClient {
    /// The SDK's action objects, of which JSON shows next to nothing, and the client.
    pub(super) fn add_to(&self, data: &mut BindingData) {
        let session = self.session_locked_until.map(|until| {
            let until = format!("{}+00:00", seven_digits(until));
            Map::from_iter([("SessionLockedUntil".to_owned(), Value::String(until))])
        });
        let session = session.unwrap_or_default();
        for key in [
            "MessageReceiver",
            "MessageSession",
            "MessageActions",
            "SessionActions",
        ] {
            data.add(key, NetValue::Object(session.clone()));
        }
        data.add("ReceiveActions", NetValue::Object(Map::new()));
        data.add("Client", self.value());
    }

    fn value(&self) -> NetValue {
        NetValue::Object(object(json!({
            "FullyQualifiedNamespace": self.namespace,
            "IsClosed": false,
            "TransportType": 0,
            "Identifier": format!("{}-{}", self.namespace, self.id),
        })))
    }
}

/// Application properties in JSON's own types, as Json.NET writes the SDK's .NET values.
pub(super) fn application_properties(message: &ReceivedMessage) -> Map<String, Value> {
    use service_bus::Value as Property;
    let json = |value: &Property| match value {
        Property::Null => Value::Null,
        Property::Bool(flag) => Value::Bool(*flag),
        Property::Int(number) => Value::from(*number),
        Property::Long(number) => Value::from(*number),
        // Json.NET writes what JSON has no number for as text.
        Property::Double(number) => Number::from_f64(*number)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        Property::String(text) => Value::String(text.clone()),
        Property::Uuid(id) => Value::String(id.to_string()),
        Property::Timestamp(date) => Value::String(format!("{}Z", seven_digits(*date))),
        Property::Binary(bytes) => Value::String(STANDARD.encode(bytes)),
    };
    let properties = message.properties.iter();
    properties
        .map(|(name, value)| (name.clone(), json(value)))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use service_bus::{MessageState, Properties};
    use uuid::uuid;

    use super::*;

    macro_rules! golden {
        ($name:literal) => {
            include_str!(concat!(
                "../../../../custom-handler/tests/golden/",
                $name,
                ".json"
            ))
        };
    }

    /// The golden file without its white space; every level of encoding and the order stay.
    fn compact(golden: &str) -> String {
        serde_json::from_str::<Value>(golden).unwrap().to_string()
    }

    pub(in crate::host::encode) fn client() -> BusClient {
        BusClient {
            namespace: "contoso.servicebus.windows.net".to_owned(),
            id: uuid!("1f0e8a52-7c1d-4d0c-9b3e-2b6f7a1c9d10"),
            session_locked_until: None,
        }
    }

    pub(in crate::host::encode) fn sys(function: &str) -> Sys {
        Sys {
            method_name: function.to_owned(),
            utc_now: datetime!(2026-03-02 09:15:31.4567891 UTC),
            rand_guid: uuid!("24ad4c06-24ad-4e5b-8294-3da9714877e9"),
        }
    }

    pub(in crate::host::encode) fn plain(body: &'static [u8]) -> ReceivedMessage {
        ReceivedMessage {
            body: Bytes::from_static(body),
            message_id: Some("883052175d7f490083127c81826fce10".to_owned()),
            correlation_id: None,
            session_id: None,
            partition_key: None,
            subject: None,
            content_type: None,
            reply_to: None,
            to: None,
            time_to_live: None,
            scheduled_enqueue_time: None,
            properties: Properties::new(),
            lock_token: Some(uuid!("0b6a2f0e-52a1-4a39-8f6d-0f4f1d0a6e11")),
            delivery_count: 1,
            sequence_number: 1018,
            enqueued_sequence_number: 1018,
            enqueued_time: datetime!(2026-03-02 09:16:00.25 UTC),
            locked_until: None,
            expires_at: None,
            dead_letter_source: None,
            state: MessageState::Active,
            is_whole: true,
        }
    }

    fn order() -> ReceivedMessage {
        let body = br#"{"orderId":42,"messageId":"evil","customer":{"id":"c-7"},"tags":["x"],"when":"2026-03-02T09:00:00Z"}"#;
        ReceivedMessage {
            message_id: Some("genuine".to_owned()),
            correlation_id: Some("corr-1".to_owned()),
            subject: Some("order.created".to_owned()),
            content_type: Some("application/json".to_owned()),
            lock_token: Some(uuid!("7ebe3bcf-bae7-455e-99ea-568500a75173")),
            delivery_count: 0,
            sequence_number: 1017,
            enqueued_time: datetime!(2026-03-02 09:15:30.123 UTC),
            expires_at: Some(datetime!(2026-03-16 09:15:30.123 UTC)),
            ..plain(body)
        }
    }

    fn encoded(body: BodyType, message: &ReceivedMessage, function: &str) -> String {
        let bytes = encode_message("msg", body, message, &client(), &sys(function), None);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_string_body_overwrites_metadata_as_in_golden_g1() {
        let mut message = order();
        let id = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        message.properties = Properties::from([
            ("tenant".to_owned(), "t1".into()),
            ("attempt".to_owned(), 3.into()),
            ("urgent".to_owned(), true.into()),
            ("Diagnostic-Id".to_owned(), id.into()),
        ]);
        // The client sorts application properties by name, the golden file keeps the sender's order.
        let mut golden: Value =
            serde_json::from_str(golden!("g1-service-bus-string-json")).unwrap();
        for key in ["ApplicationProperties", "UserProperties"] {
            golden["Metadata"][key].sort_all_objects();
        }
        assert_eq!(
            encoded(BodyType::String, &message, "OrderIn"),
            golden.to_string()
        );
    }

    #[test]
    fn a_text_body_is_encoded_as_in_golden_g2() {
        let message = plain("say \"hi\"\nüñí".as_bytes());
        assert_eq!(
            encoded(BodyType::String, &message, "OrderIn"),
            compact(golden!("g2-service-bus-string-text"))
        );
    }

    #[test]
    fn a_binary_body_is_encoded_as_in_golden_g3() {
        let message = plain(&[0x00, 0xFF, 0x10, 0xAB]);
        assert_eq!(
            encoded(BodyType::Binary, &message, "BinIn"),
            compact(golden!("g3-service-bus-binary"))
        );
    }

    #[test]
    fn a_message_of_a_session_shows_the_session_and_its_lock() {
        let mut message = plain(b"x");
        message.session_id = Some("row-1".to_owned());
        let mut client = client();
        client.session_locked_until = Some(datetime!(2026-03-02 09:17:00.5 UTC));
        let bytes = encode_message("msg", BodyType::Binary, &message, &client, &sys("In"), None);
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let metadata = &json["Metadata"];
        assert_eq!(metadata["SessionId"], json!("\"row-1\""));
        let until = json!({"SessionLockedUntil": "2026-03-02T09:17:00.5+00:00"});
        for key in [
            "MessageReceiver",
            "MessageSession",
            "MessageActions",
            "SessionActions",
        ] {
            assert_eq!(metadata[key], until, "{key}");
        }
        assert_eq!(metadata["ReceiveActions"], json!({}));
    }

    #[test]
    fn a_binary_json_body_overwrites_nothing() {
        let text = encoded(BodyType::Binary, &order(), "OrderIn");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["Metadata"]["MessageId"], json!("\"genuine\""));
        assert_eq!(json["Metadata"].get("orderId"), None);
    }

    #[test]
    fn the_custom_handler_crate_decodes_what_is_encoded_here() {
        let text = encoded(BodyType::Binary, &order(), "OrderIn");
        let invocation =
            custom_handler::Invocation::decode("id", "OrderIn", None, text.as_bytes()).unwrap();
        let decoded = invocation.service_bus_message("msg").unwrap();
        assert_eq!(decoded.body, order().body);
        assert_eq!(Some(decoded.lock_token), order().lock_token);
        assert_eq!((decoded.delivery_count, decoded.sequence_number), (1, 1017));
        assert_eq!(decoded.expires_at, Some(datetime!(2026-03-16 09:15:30 UTC)));
    }
}
