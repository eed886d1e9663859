//! Requests to an entity's `$management` node, and what comes back ("AMQP 1.0 in Azure Service Bus:
//! request-response-based operations").
//!
//! Bodies are maps with string keys; lock tokens are AMQP uuids in plain RFC 4122 order, unlike in
//! delivery tags. `$cbs` answers in the same way under other names (`status-code`).

mod rules;
mod sessions;

use std::time::Duration;

use fe2o3_amqp_types::messaging::{AmqpValue, Body};
use fe2o3_amqp_types::primitives::SimpleValue;
use serde_amqp::Value as Amqp;
use serde_amqp::primitives::{Array, Binary, OrderedMap, Timestamp};
use time::OffsetDateTime;
use uuid::Uuid;

use super::value::{from_timestamp, integer, text};
use super::{AnyMessage, incoming, outgoing, settlement};
use crate::error::ErrorKind;
use crate::message::{OutgoingMessage, ReceivedMessage};
use crate::settlement::{ReceiveMode, Settlement};

/// A request, without the ids that pair it with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    operation: &'static str,
    fields: Vec<(&'static str, Amqp)>,
    /// The receiving link it is made for.
    link: Option<String>,
}

impl Request {
    pub(crate) fn update_disposition(lock_token: Uuid, settlement: Settlement) -> Self {
        let mut fields = vec![("lock-tokens", uuids(&[lock_token]))];
        fields.extend(settlement::management_fields(settlement));
        Self::new("com.microsoft:update-disposition", fields)
    }

    pub(crate) fn renew_lock(lock_token: Uuid) -> Self {
        Self::new(
            "com.microsoft:renew-lock",
            vec![("lock-tokens", uuids(&[lock_token]))],
        )
    }

    pub(crate) fn peek(from_sequence_number: i64, max: u32) -> Self {
        let count = i32::try_from(max).unwrap_or(i32::MAX);
        Self::new(
            "com.microsoft:peek-message",
            vec![
                ("from-sequence-number", Amqp::Long(from_sequence_number)),
                ("message-count", Amqp::Int(count)),
            ],
        )
    }

    /// When each message appears is in its own annotation; the request says nothing of it.
    pub(crate) fn schedule(messages: Vec<OutgoingMessage>) -> Result<Self, ErrorKind> {
        let messages = messages
            .into_iter()
            .map(scheduled_entry)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(
            "com.microsoft:schedule-message",
            vec![("messages", Amqp::List(messages))],
        ))
    }

    pub(crate) fn cancel_scheduled(sequence_numbers: &[i64]) -> Self {
        Self::new(
            "com.microsoft:cancel-scheduled-message",
            vec![("sequence-numbers", longs(sequence_numbers))],
        )
    }

    pub(crate) fn receive_deferred(sequence_numbers: &[i64], mode: ReceiveMode) -> Self {
        let settle_mode = match mode {
            ReceiveMode::ReceiveAndDelete => 0,
            ReceiveMode::PeekLock => 1,
        };
        Self::new(
            "com.microsoft:receive-by-sequence-number",
            vec![
                ("sequence-numbers", longs(sequence_numbers)),
                ("receiver-settle-mode", Amqp::Uint(settle_mode)),
            ],
        )
    }

    fn new(operation: &'static str, fields: Vec<(&'static str, Amqp)>) -> Self {
        Self {
            operation,
            fields,
            link: None,
        }
    }

    /// The request as a message, which the broker need not answer after `timeout`.
    pub(crate) fn into_message(self, timeout: Duration) -> AnyMessage {
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let mut properties = vec![
            ("operation", Amqp::String(self.operation.into())),
            ("com.microsoft:server-timeout", Amqp::Uint(timeout)),
        ];
        let link = self.link.map(Amqp::String);
        properties.extend(link.map(|link| ("associated-link-name", link)));
        outgoing::request(properties, map(self.fields))
    }
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Response {
    status: i64,
    condition: Option<String>,
    description: String,
    body: Amqp,
}

impl Response {
    /// Reads an answer of `$management` or `$cbs`.
    pub(crate) fn from_message(message: AnyMessage) -> Result<Self, ErrorKind> {
        let properties = message.application_properties.unwrap_or_default();
        let find = |names: [&str; 2]| -> Option<Amqp> {
            let value: Option<&SimpleValue> = names.iter().find_map(|name| properties.get(*name));
            value.cloned().map(Into::into)
        };
        let words = |names| find(names).as_ref().and_then(text).map(str::to_owned);
        Ok(Self {
            status: find(["statusCode", "status-code"])
                .as_ref()
                .and_then(integer)
                .ok_or_else(|| ErrorKind::Protocol("an answer without a status code".into()))?,
            condition: words(["errorCondition", "error-condition"]),
            description: words(["statusDescription", "status-description"]).unwrap_or_default(),
            body: match message.body {
                Body::Value(AmqpValue(value)) => value,
                _ => Amqp::Null,
            },
        })
    }

    /// Fails unless the status is a success.
    pub(crate) fn success(self) -> Result<Self, ErrorKind> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let condition = self
            .condition
            .unwrap_or_else(|| condition_of_status(self.status).to_owned());
        Err(ErrorKind::Refused {
            condition,
            description: self.description,
        })
    }

    /// The messages of a peek: none is said by status 204, or by 404 with `message-not-found`.
    pub(crate) fn peeked(self) -> Result<Vec<ReceivedMessage>, ErrorKind> {
        let nothing = self.status == 204
            || (self.status == 404
                && self.condition.as_deref() == Some("com.microsoft:message-not-found"));
        if nothing {
            return Ok(Vec::new());
        }
        // Somebody who looks wants to see the others, too, where one cannot be read.
        let read = self.each_message()?;
        let is_any_read = read.iter().any(Result::is_ok);
        let mut messages = Vec::new();
        for message in read {
            match message {
                Ok(message) => messages.push(message),
                Err(error) if is_any_read => {
                    tracing::warn!(%error, "a message that was peeked at cannot be read, and is left out: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(messages)
    }

    /// The messages of the body.
    pub(crate) fn messages(self) -> Result<Vec<ReceivedMessage>, ErrorKind> {
        self.each_message()?.into_iter().collect()
    }

    fn each_message(self) -> Result<Vec<Result<ReceivedMessage, ErrorKind>>, ErrorKind> {
        let body = self.success()?.body;
        let entries = items(field(&body, "messages")).ok_or_else(|| missing("messages"))?;
        let read = |entry: &Amqp| {
            let lock_token = match field(entry, "lock-token") {
                Some(Amqp::Uuid(token)) => Some(Uuid::from_bytes(*token.as_inner())),
                _ => None,
            };
            match field(entry, "message") {
                Some(Amqp::Binary(bytes)) => incoming::decode(bytes, lock_token),
                _ => Err(missing("message")),
            }
        };
        Ok(entries.iter().map(read).collect())
    }

    /// The sequence numbers of scheduled messages.
    pub(crate) fn sequence_numbers(self) -> Result<Vec<i64>, ErrorKind> {
        let body = self.success()?.body;
        items(field(&body, "sequence-numbers"))
            .and_then(|numbers| numbers.iter().map(integer).collect())
            .ok_or_else(|| missing("sequence-numbers"))
    }

    /// When the one renewed lock ends.
    pub(crate) fn expiration(self) -> Result<OffsetDateTime, ErrorKind> {
        let body = self.success()?.body;
        items(field(&body, "expirations"))
            .and_then(|times| match times.first() {
                Some(Amqp::Timestamp(time)) => from_timestamp(time),
                _ => None,
            })
            .ok_or_else(|| missing("expirations"))
    }
}

/// The request that gives the broker a token for an entity ("AMQP 1.0 protocol guide", claims-based
/// security).
pub(crate) fn put_token(
    audience: &str,
    token_type: &str,
    token: String,
    expires_at: OffsetDateTime,
) -> AnyMessage {
    let seconds = expires_at.unix_timestamp();
    outgoing::request(
        vec![
            ("operation", Amqp::String("put-token".into())),
            ("type", Amqp::String(token_type.into())),
            ("name", Amqp::String(audience.into())),
            (
                "expiration",
                Amqp::Timestamp(Timestamp::from_milliseconds(seconds.saturating_mul(1000))),
            ),
        ],
        Amqp::String(token),
    )
}

fn scheduled_entry(message: OutgoingMessage) -> Result<Amqp, ErrorKind> {
    if message.scheduled_enqueue_time.is_none() {
        return Err(ErrorKind::Invalid(
            "a message to schedule has no scheduled_enqueue_time".into(),
        ));
    }
    let mut fields = Vec::new();
    let mut add = |name, value: &Option<String>| {
        if let Some(value) = value {
            fields.push((name, Amqp::String(value.clone())));
        }
    };
    add("message-id", &message.message_id);
    add("session-id", &message.session_id);
    add("partition-key", &message.partition_key);
    let bytes = outgoing::encode(outgoing::message(message))?;
    fields.push(("message", Amqp::Binary(Binary::from(bytes))));
    Ok(map(fields))
}

fn condition_of_status(status: i64) -> &'static str {
    match status {
        400 => "com.microsoft:argument-error",
        401 | 403 => "amqp:unauthorized-access",
        404 => "amqp:not-found",
        408 => "com.microsoft:timeout",
        410 => "com.microsoft:message-lock-lost",
        503 => "com.microsoft:server-busy",
        _ => "amqp:internal-error",
    }
}

fn map(fields: Vec<(&str, Amqp)>) -> Amqp {
    let mut map = OrderedMap::new();
    for (name, value) in fields {
        map.insert(Amqp::String(name.into()), value);
    }
    Amqp::Map(map)
}

fn field<'a>(map: &'a Amqp, name: &str) -> Option<&'a Amqp> {
    match map {
        Amqp::Map(map) => map
            .iter()
            .find_map(|(key, value)| (text(key) == Some(name)).then_some(value)),
        _ => None,
    }
}

fn items(value: Option<&Amqp>) -> Option<&[Amqp]> {
    match value? {
        Amqp::List(items) => Some(items),
        Amqp::Array(items) => Some(&items.0),
        _ => None,
    }
}

fn uuids(uuids: &[Uuid]) -> Amqp {
    let values = uuids
        .iter()
        .map(|uuid| Amqp::Uuid((*uuid.as_bytes()).into()));
    Amqp::Array(Array(values.collect()))
}

fn longs(numbers: &[i64]) -> Amqp {
    Amqp::Array(Array(
        numbers.iter().map(|number| Amqp::Long(*number)).collect(),
    ))
}

fn missing(name: &str) -> ErrorKind {
    ErrorKind::Protocol(format!("an answer without {name}"))
}

#[cfg(test)]
mod tests;
