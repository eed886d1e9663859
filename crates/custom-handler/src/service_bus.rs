//! A Service Bus queue or subscription message, as a trigger with `dataType: "binary"` delivers it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::DecodeError;
use crate::metadata::Metadata;

/// One message. Field meanings are those of `ServiceBusReceivedMessage` in Azure's SDKs.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceBusTrigger {
    /// The body, byte for byte as it was sent.
    pub body: Bytes,
    /// Chosen by the sender; what duplicate detection compares.
    pub message_id: Option<String>,
    /// Chosen by the sender.
    pub correlation_id: Option<String>,
    /// The lock under which the host holds the message.
    pub lock_token: Uuid,
    /// Which delivery this is: 1 is the first.
    pub delivery_count: u32,
    /// The broker's number of the message, unique in its entity.
    pub sequence_number: i64,
    /// When the broker accepted the message, to the whole second.
    pub enqueued_time: OffsetDateTime,
    /// When the message expires, to the whole second; `None` when it never does.
    pub expires_at: Option<OffsetDateTime>,
    /// Media type of the body, as the sender named it.
    pub content_type: Option<String>,
    /// The sender's subject, also known as label.
    pub subject: Option<String>,
    /// The session the message belongs to.
    pub session_id: Option<String>,
    /// Address for a reply.
    pub reply_to: Option<String>,
    /// Session for a reply.
    pub reply_to_session_id: Option<String>,
    /// The sender's address of the receiver; the broker does not use it.
    pub to: Option<String>,
    /// The key that chooses the partition.
    pub partition_key: Option<String>,
    /// The entity the message was dead-lettered in, before it was forwarded here.
    pub dead_letter_source: Option<String>,
    /// The sender's own properties, in JSON's types.
    pub application_properties: Map<String, Value>,
}

impl ServiceBusTrigger {
    /// Decodes the message from its `Data` value and the invocation's `Metadata`.
    ///
    /// The shape of `data` tells how the host bound the body, and it must have been as bytes: only then
    /// could no member of a JSON body have overwritten the metadata. A string body always starts with a
    /// quote and a batch with a bracket, neither of which is in the base64 alphabet.
    pub(crate) fn decode(
        binding: &str,
        data: &Value,
        metadata: &Metadata<'_>,
    ) -> Result<Self, DecodeError> {
        let wrong_shape = || DecodeError::WrongShape {
            binding: binding.to_owned(),
            expected: "a Service Bus message in base64",
        };
        let encoded = data.as_str().ok_or_else(wrong_shape)?;
        match encoded.as_bytes().first() {
            Some(b'"') => {
                return Err(DecodeError::StringBody {
                    binding: binding.to_owned(),
                });
            }
            Some(b'[') => {
                return Err(DecodeError::Batch {
                    binding: binding.to_owned(),
                });
            }
            _ => {}
        }
        let body = STANDARD.decode(encoded).map_err(|_| wrong_shape())?;
        Ok(Self {
            body: Bytes::from(body),
            message_id: metadata.text("MessageId")?,
            correlation_id: metadata.text("CorrelationId")?,
            lock_token: metadata.uuid("LockToken")?,
            delivery_count: metadata.integer("DeliveryCount")?,
            sequence_number: metadata.integer("SequenceNumber")?,
            enqueued_time: metadata.date("EnqueuedTime")?,
            // .NET says "never" with DateTimeOffset.MaxValue.
            expires_at: Some(metadata.date("ExpiresAt")?).filter(|date| date.year() < 9999),
            content_type: metadata.text("ContentType")?,
            subject: metadata.text("Subject")?,
            session_id: metadata.text("SessionId")?,
            reply_to: metadata.text("ReplyTo")?,
            reply_to_session_id: metadata.text("ReplyToSessionId")?,
            to: metadata.text("To")?,
            partition_key: metadata.text("PartitionKey")?,
            dead_letter_source: metadata.text("DeadLetterSource")?,
            application_properties: metadata
                .object("ApplicationProperties")?
                .cloned()
                .unwrap_or_default(),
        })
    }
}
