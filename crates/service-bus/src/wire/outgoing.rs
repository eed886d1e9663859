//! Messages on their way out.

use fe2o3_amqp_types::messaging::message::__private::Serializable;
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Batch, Body, Data, Header, Message, MessageAnnotations,
    Properties,
};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value as Amqp;
use serde_amqp::primitives::{Binary, OrderedMap};

use super::value::{to_amqp, to_timestamp};
use super::{AnyMessage, annotation};
use crate::error::ErrorKind;
use crate::message::OutgoingMessage;

/// The message format of one message.
pub(crate) const SINGLE: u32 = 0;
/// The message format of a transfer that carries several messages, of which the broker takes all or
/// none (the SDKs' `AmqpBatchedMessageFormat`).
pub(crate) const BATCH: u32 = 0x8001_3700;

/// One message as it is transferred.
pub(crate) fn message(message: OutgoingMessage) -> AnyMessage {
    Message {
        header: message.time_to_live.map(|ttl| Header {
            // 49.7 days is all the header can say; the entity's own default is the bound beyond it.
            ttl: Some(u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)),
            ..Header::default()
        }),
        delivery_annotations: None,
        message_annotations: annotations(&message),
        properties: Some(Properties {
            message_id: message.message_id.map(Into::into),
            to: message.to,
            subject: message.subject,
            reply_to: message.reply_to,
            correlation_id: message.correlation_id.map(Into::into),
            content_type: message.content_type.map(Into::into),
            group_id: message.session_id,
            ..Properties::default()
        }),
        application_properties: (!message.properties.is_empty())
            .then(|| application_properties(message.properties)),
        body: Body::Data(Batch::from(vec![Data(Binary::from(message.body.to_vec()))])),
        footer: None,
    }
}

/// Several messages as one transfer of format [`BATCH`]: each encoded whole in a data section of its
/// own, in an envelope that has the first one's id and keys, as the SDKs build it.
pub(crate) fn batch(messages: Vec<OutgoingMessage>) -> Result<AnyMessage, ErrorKind> {
    let envelope = messages.first().cloned().unwrap_or_default();
    let sections = messages
        .into_iter()
        .map(|message| Ok(Data(Binary::from(encode(self::message(message))?))))
        .collect::<Result<Vec<_>, ErrorKind>>()?;
    Ok(Message {
        header: None,
        delivery_annotations: None,
        message_annotations: annotations(&OutgoingMessage {
            scheduled_enqueue_time: None,
            ..envelope.clone()
        }),
        properties: Some(Properties {
            message_id: envelope.message_id.map(Into::into),
            group_id: envelope.session_id,
            ..Properties::default()
        }),
        application_properties: None,
        body: Body::Data(Batch::from(sections)),
        footer: None,
    })
}

/// A request to a node: application properties and a body of one value.
pub(crate) fn request(properties: Vec<(&str, Amqp)>, body: Amqp) -> AnyMessage {
    let mut map = OrderedMap::new();
    for (name, value) in properties {
        // Requests are built from simple values only.
        map.insert(
            name.to_owned(),
            SimpleValue::try_from(value).unwrap_or_default(),
        );
    }
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties::default()),
        application_properties: Some(ApplicationProperties(map)),
        body: Body::Value(AmqpValue(body)),
        footer: None,
    }
}

/// The bytes of a message, as they stand inside batches and management requests.
pub(crate) fn encode(message: AnyMessage) -> Result<Vec<u8>, ErrorKind> {
    // The library encodes messages only through this wrapper, which its own extension crates use.
    serde_amqp::to_vec(&Serializable(message))
        .map_err(|error| ErrorKind::Invalid(format!("the message cannot be encoded: {error}")))
}

fn annotations(message: &OutgoingMessage) -> Option<MessageAnnotations> {
    let mut map = OrderedMap::new();
    if let Some(key) = &message.partition_key {
        map.insert(annotation::PARTITION_KEY.into(), Amqp::String(key.clone()));
    }
    if let Some(time) = message.scheduled_enqueue_time {
        map.insert(
            annotation::SCHEDULED_ENQUEUE_TIME.into(),
            Amqp::Timestamp(to_timestamp(time)),
        );
    }
    (!map.is_empty()).then_some(MessageAnnotations(map))
}

fn application_properties(properties: crate::value::Properties) -> ApplicationProperties {
    let mut map = OrderedMap::new();
    for (name, value) in properties {
        // Every variant of our own Value is a simple value.
        let value = SimpleValue::try_from(to_amqp(value)).unwrap_or_default();
        map.insert(name, value);
    }
    ApplicationProperties(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use crate::wire::incoming;

    #[test]
    fn a_message_is_encoded_as_the_golden_file_says() {
        let bytes = encode(message(golden::full_message())).unwrap();
        golden::check("message", &bytes);
    }

    #[test]
    fn a_batch_is_encoded_as_the_golden_file_says() {
        let second = OutgoingMessage::new("two");
        let bytes = encode(batch(vec![golden::full_message(), second]).unwrap()).unwrap();
        golden::check("batch", &bytes);
    }

    #[test]
    fn what_was_encoded_reads_back_the_same() {
        let sent = golden::full_message();
        let bytes = encode(message(sent.clone())).unwrap();
        let back = incoming::decode(&bytes, None).unwrap();
        assert_eq!(back.body, sent.body);
        assert_eq!(back.message_id, sent.message_id);
        assert_eq!(back.correlation_id, sent.correlation_id);
        assert_eq!(back.session_id, sent.session_id);
        assert_eq!(back.partition_key, sent.partition_key);
        assert_eq!(back.subject, sent.subject);
        assert_eq!(back.content_type, sent.content_type);
        assert_eq!(back.reply_to, sent.reply_to);
        assert_eq!(back.to, sent.to);
        assert_eq!(back.time_to_live, sent.time_to_live);
        assert_eq!(back.scheduled_enqueue_time, sent.scheduled_enqueue_time);
        assert_eq!(back.properties, sent.properties);
    }

    #[test]
    fn a_time_to_live_beyond_the_header_is_cut_to_what_it_can_say() {
        let encoded = message(OutgoingMessage {
            time_to_live: Some(std::time::Duration::from_secs(86_400 * 365)),
            ..OutgoingMessage::default()
        });
        assert_eq!(encoded.header.unwrap().ttl, Some(u32::MAX));
    }
}
