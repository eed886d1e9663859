//! From the trigger's message to sync-core's.

use custom_handler::ServiceBusTrigger;
use serde_json::Value as Json;
use service_bus::{Properties, Value};
use sync_core::message::Message;

/// The same message in sync-core's terms.
///
/// The host passes application properties on as JSON, so a retry copy carries what JSON can tell apart:
/// whole numbers become int or long by size; a timestamp or uuid property becomes its text.
#[must_use]
pub fn message(trigger: ServiceBusTrigger) -> Message {
    Message {
        // A broker always sets an id; the sequence number is as unique within one queue.
        message_id: trigger
            .message_id
            .unwrap_or_else(|| format!("sequence-{}", trigger.sequence_number)),
        body: trigger.body,
        correlation_id: trigger.correlation_id,
        lock_token: trigger.lock_token,
        delivery_count: trigger.delivery_count,
        enqueued_time: trigger.enqueued_time,
        session_id: trigger.session_id,
        content_type: trigger.content_type,
        subject: trigger.subject,
        properties: properties(trigger.application_properties),
    }
}

fn properties(map: serde_json::Map<String, Json>) -> Properties {
    map.into_iter()
        .map(|(name, value)| (name, property(value)))
        .collect()
}

fn property(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => b.into(),
        Json::String(s) => s.into(),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(whole), _) => i32::try_from(whole).map_or(Value::Long(whole), Value::Int),
            (None, Some(number)) => number.into(),
            (None, None) => n.to_string().into(),
        },
        // No SDK can send these as an application property.
        nested @ (Json::Array(_) | Json::Object(_)) => nested.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_retry_count_survives_the_hosts_json() {
        let map = json!({"RetryCount": 3, "big": 5_000_000_000_i64, "half": 0.5, "urgent": true, "t": "x"});
        let Json::Object(map) = map else {
            panic!("not an object")
        };
        let properties = properties(map);
        assert_eq!(properties["RetryCount"], Value::Int(3));
        assert_eq!(properties["big"], Value::Long(5_000_000_000));
        assert_eq!(properties["half"], Value::Double(0.5));
        assert_eq!(properties["urgent"], Value::Bool(true));
        assert_eq!(properties["t"], Value::String("x".into()));
    }
}
