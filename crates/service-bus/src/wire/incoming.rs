//! Messages on their way in.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use fe2o3_amqp_types::messaging::message::DecodeIntoMessage;
use fe2o3_amqp_types::messaging::{
    AmqpValue, Body, Header, MessageAnnotations, MessageId, Properties, annotations::AnnotationKey,
};
use serde_amqp::Value as Amqp;
use serde_amqp::read::SliceReader;
use time::OffsetDateTime;
use uuid::Uuid;

use super::value::{from_amqp, from_timestamp, integer, text};
use super::{AnyMessage, annotation};
use crate::error::ErrorKind;
use crate::message::{MessageState, ReceivedMessage};

/// A message from its bytes, as management answers carry it.
pub(crate) fn decode(bytes: &[u8], lock_token: Option<Uuid>) -> Result<ReceivedMessage, ErrorKind> {
    Ok(received(read(bytes)?, lock_token))
}

/// Decodes a message that came as bytes in a value, which nobody has walked: see `link::guard`.
pub(crate) fn read(bytes: &[u8]) -> Result<AnyMessage, ErrorKind> {
    let failed =
        |error: &dyn Display| ErrorKind::Protocol(format!("a message cannot be decoded: {error}"));
    amqp_walk::measure_all(bytes).map_err(|error| failed(&error))?;
    Body::<Amqp>::decode_message_from_reader(SliceReader::new(bytes))
        .map_err(|error| failed(&error))
}

/// A message as the caller sees it.
pub(crate) fn received(message: AnyMessage, lock_token: Option<Uuid>) -> ReceivedMessage {
    let header = message.header.unwrap_or_default();
    let properties = message.properties.unwrap_or_default();
    let annotations = Annotations(message.message_annotations.unwrap_or_default());
    let enqueued_time = annotations
        .time(annotation::ENQUEUED_TIME)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let sequence_number = annotations
        .integer(annotation::SEQUENCE_NUMBER)
        .unwrap_or(0);
    let time_to_live = header.ttl.map(|ttl| Duration::from_millis(ttl.into()));
    let body = body_bytes(message.body);
    let sent = message.application_properties.unwrap_or_default().0;
    let sent = sent.into_inner();
    let count = sent.len();
    let known: crate::value::Properties = sent
        .into_iter()
        .filter_map(|(name, value)| Some((name, from_amqp(value.into())?)))
        .collect();
    ReceivedMessage {
        is_whole: body.is_some() && known.len() == count,
        body: body.unwrap_or_default(),
        expires_at: expiry(&header, &properties, enqueued_time),
        message_id: properties.message_id.map(id_text),
        correlation_id: properties.correlation_id.map(id_text),
        session_id: properties.group_id,
        partition_key: annotations.text(annotation::PARTITION_KEY),
        subject: properties.subject,
        content_type: properties.content_type.map(|symbol| symbol.0),
        reply_to: properties.reply_to,
        to: properties.to,
        time_to_live,
        scheduled_enqueue_time: annotations.time(annotation::SCHEDULED_ENQUEUE_TIME),
        properties: known,
        lock_token,
        delivery_count: header.delivery_count,
        sequence_number,
        enqueued_sequence_number: annotations
            .integer(annotation::ENQUEUED_SEQUENCE_NUMBER)
            .unwrap_or(sequence_number),
        enqueued_time,
        locked_until: annotations.time(annotation::LOCKED_UNTIL),
        dead_letter_source: annotations.text(annotation::DEAD_LETTER_SOURCE),
        state: match annotations.integer(annotation::MESSAGE_STATE) {
            Some(1) => MessageState::Deferred,
            Some(2) => MessageState::Scheduled,
            _ => MessageState::Active,
        },
    }
}

/// The lock token in a delivery tag: 16 bytes in .NET's Guid layout, whose first three groups are
/// little-endian. `None` for a tag of any other length.
pub(crate) fn lock_token(delivery_tag: &[u8]) -> Option<Uuid> {
    Uuid::from_slice_le(delivery_tag).ok()
}

struct Annotations(MessageAnnotations);

impl Annotations {
    fn get(&self, name: &str) -> Option<&Amqp> {
        self.0.get(&name as &dyn AnnotationKey)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text).map(str::to_owned)
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(integer)
    }

    fn time(&self, name: &str) -> Option<OffsetDateTime> {
        match self.get(name)? {
            Amqp::Timestamp(timestamp) => from_timestamp(timestamp),
            _ => None,
        }
    }
}

fn expiry(
    header: &Header,
    properties: &Properties,
    enqueued_time: OffsetDateTime,
) -> Option<OffsetDateTime> {
    if let Some(time) = &properties.absolute_expiry_time {
        return from_timestamp(time);
    }
    let ttl = time::Duration::milliseconds(header.ttl?.into());
    enqueued_time.checked_add(ttl)
}

fn id_text(id: MessageId) -> String {
    match id {
        MessageId::String(text) => text,
        MessageId::Uuid(uuid) => Uuid::from_bytes(uuid.into_inner()).to_string(),
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Binary(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// `None` for a body that bytes cannot hold.
fn body_bytes(body: Body<Amqp>) -> Option<Bytes> {
    Some(match body {
        Body::Data(sections) => {
            let mut sections: Vec<_> = sections.into_iter().map(|data| data.0.into_vec()).collect();
            if sections.len() == 1 {
                return Some(sections.remove(0).into());
            }
            sections.concat().into()
        }
        Body::Value(AmqpValue(Amqp::Binary(bytes))) => bytes.into_vec().into(),
        Body::Value(AmqpValue(Amqp::String(text))) => text.into_bytes().into(),
        Body::Empty => Bytes::new(),
        Body::Value(_) | Body::Sequence(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use fe2o3_amqp_types::messaging::Message;
    use time::macros::datetime;

    #[test]
    fn a_delivery_tag_is_a_lock_token_in_guid_layout() {
        let tag = [
            0x82, 0xa3, 0x95, 0xe8, 0x4f, 0x99, 0x55, 0x48, 0x97, 0x14, 1, 2, 3, 4, 5, 6,
        ];
        assert_eq!(
            lock_token(&tag).unwrap().to_string(),
            "e895a382-994f-4855-9714-010203040506"
        );
        assert_eq!(lock_token(&tag[..15]), None);
    }

    #[test]
    fn a_message_in_an_answer_is_walked_before_it_is_decoded() {
        let message = [0x00, 0x53, 0x77].repeat(20_000);
        let refused = decode(&message, None).unwrap_err();
        assert!(refused.to_string().contains("nested"), "{refused}");
    }

    #[test]
    fn the_brokers_annotations_are_read() {
        let received = decode(&golden::read("delivered"), Some(Uuid::nil())).unwrap();
        assert_eq!(received.body, "hello");
        assert_eq!(received.message_id.as_deref(), Some("m-1"));
        assert_eq!(received.delivery_count, 3);
        assert_eq!(received.sequence_number, 42);
        assert_eq!(received.enqueued_sequence_number, 41);
        assert_eq!(received.enqueued_time, datetime!(2026-11-23 15:00:00.5 UTC));
        assert_eq!(
            received.locked_until,
            Some(datetime!(2026-11-23 15:01:00.5 UTC))
        );
        assert_eq!(
            received.expires_at,
            Some(datetime!(2026-11-23 16:00:00.5 UTC))
        );
        assert_eq!(received.state, MessageState::Deferred);
        assert_eq!(
            received.dead_letter_reason(),
            Some("MaxDeliveryCountExceeded")
        );
        assert_eq!(received.dead_letter_description(), Some("too often"));
        assert_eq!(received.dead_letter_source.as_deref(), Some("orders"));
    }

    #[test]
    fn a_message_with_nothing_but_a_body_is_read_too() {
        for (body, expected, is_whole) in [
            (
                Body::Value(AmqpValue(Amqp::String("text".into()))),
                "text",
                true,
            ),
            (Body::Value(AmqpValue(Amqp::Long(1))), "", false),
            (Body::Empty, "", true),
        ] {
            let message: AnyMessage = Message {
                header: None,
                delivery_annotations: None,
                message_annotations: None,
                properties: None,
                application_properties: None,
                body,
                footer: None,
            };
            let received = received(message, None);
            assert_eq!(received.body, expected);
            assert_eq!(received.is_whole, is_whole);
            assert_eq!(received.delivery_count, 0);
            assert_eq!(received.expires_at, None);
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        assert!(matches!(
            decode(b"\x00\x53\x75", None),
            Err(ErrorKind::Protocol(_))
        ));
    }
}
