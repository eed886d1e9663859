//! The envelope around a notification or acknowledgement: broker properties, our bookkeeping
//! properties, and how a retry copy is made. Pure.

use std::time::Duration;

use bytes::Bytes;
use service_bus::{OutgoingMessage, Properties, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::decide::Attempt;
use crate::failure::{Class, Failure};
use crate::trace;

/// Counted retries so far (int, absent = 0).
pub const RETRY_COUNT: &str = "RetryCount";
/// When the first message of the chain was enqueued, moved on by every wait for a system that is
/// down (RFC 3339): the age of a message leaves out the outages it sat through.
pub const FIRST_ENQUEUED_AT: &str = "FirstEnqueuedAt";
/// `MessageId` of the first message of the chain.
pub const ORIGINAL_MESSAGE_ID: &str = "OriginalMessageId";
/// `stage/code` of the failure that led to this copy.
pub const LAST_FAILURE: &str = "LastFailure";

pub(crate) const DEAD_LETTER_REASON: &str = "DeadLetterReason";
pub(crate) const DEAD_LETTER_DESCRIPTION: &str = "DeadLetterErrorDescription";
/// What a dead-lettered message carries and a copy of it must not.
const DEAD_LETTERED: [&str; 5] = [
    DEAD_LETTER_REASON,
    DEAD_LETTER_DESCRIPTION,
    "FailureCode",
    "FailureStage",
    "FailureStatus",
];

/// A message as the trigger handed it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The body, byte for byte.
    pub body: Bytes,
    /// Broker `MessageId`.
    pub message_id: String,
    /// Broker `CorrelationId`.
    pub correlation_id: Option<String>,
    /// What the message is settled by.
    pub lock_token: Uuid,
    /// Deliveries of this very message, this one included. Crashes and lost locks raise it; it is
    /// never the retry counter.
    pub delivery_count: u32,
    /// When the broker took it.
    pub enqueued_time: OffsetDateTime,
    /// Broker `SessionId`.
    pub session_id: Option<String>,
    /// Broker `ContentType`.
    pub content_type: Option<String>,
    /// Broker `Subject`.
    pub subject: Option<String>,
    /// Application properties.
    pub properties: Properties,
}

/// Namespace of the ids derived here. Any constant will do, as long as it never changes.
const DERIVED: Uuid = Uuid::from_u128(0x6f1c_8a8e_5d0b_4a55_9d3e_0b9e_51f5_7c01);

impl Message {
    /// Whether somebody resent it from the dead-letter queue. Then its bookkeeping starts anew, but what
    /// earlier attempts may have done is still owed a repair.
    #[must_use]
    pub fn is_resent(&self) -> bool {
        self.properties.contains_key(DEAD_LETTER_REASON)
    }

    /// Counted retries before this attempt.
    #[must_use]
    pub fn retry_count(&self) -> u32 {
        if self.is_resent() {
            return 0;
        }
        let count = self
            .properties
            .get(RETRY_COUNT)
            .and_then(Value::as_i64)
            .unwrap_or(0);
        u32::try_from(count.max(0)).unwrap_or(u32::MAX)
    }

    /// When the first message of the chain was enqueued.
    #[must_use]
    pub fn first_enqueued_at(&self) -> OffsetDateTime {
        if self.is_resent() {
            return self.enqueued_time;
        }
        self.properties
            .get(FIRST_ENQUEUED_AT)
            .and_then(Value::as_str)
            .and_then(|s| OffsetDateTime::parse(s, &Rfc3339).ok())
            .unwrap_or(self.enqueued_time)
    }

    /// `MessageId` of the first message of the chain.
    #[must_use]
    pub fn original_message_id(&self) -> &str {
        let property = self
            .properties
            .get(ORIGINAL_MESSAGE_ID)
            .and_then(Value::as_str);
        property.unwrap_or(&self.message_id)
    }

    /// What the decision needs to know.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt {
            retry_count: self.retry_count(),
            first_enqueued_at: self.first_enqueued_at(),
        }
    }

    /// Whether no earlier attempt of this change may have delivered anything: neither a retry copy
    /// nor a redelivery.
    #[must_use]
    pub fn is_first_attempt(&self) -> bool {
        self.original_message_id() == self.message_id
            && self.retry_count() == 0
            && self.delivery_count <= 1
            && !self.is_resent()
    }

    /// An id for something this attempt sends: the same when the client sends it twice, so that
    /// duplicate detection folds it; another one for every other attempt, so that it never swallows
    /// what a later attempt owes. The lock token tells apart the attempts of a notification that was
    /// posted twice, whose two messages have the same id and each a first delivery.
    #[must_use]
    pub fn derived_id(&self, what: &str) -> Uuid {
        let (id, delivery, lock) = (&self.message_id, self.delivery_count, self.lock_token);
        let name = format!("{id}/{delivery}/{lock}/{what}");
        Uuid::new_v5(&DERIVED, name.as_bytes())
    }

    /// The scheduled copy: the same body bytes and properties, the bookkeeping moved on.
    ///
    /// Its `MessageId` starts with the original's and the retry count, for people, and ends with a
    /// hash of *this attempt*. The hash matters: with `{original}~{count}` alone, a copy that does not
    /// count, or one sent by a redelivery of this message, would carry the id of an earlier copy, and
    /// a queue with duplicate detection would accept and drop it. That message would be lost.
    #[must_use]
    pub fn retry_copy(
        &self,
        now: OffsetDateTime,
        delay: Duration,
        counts: bool,
        failure: &Failure,
    ) -> OutgoingMessage {
        let retry_count = self.retry_count().saturating_add(u32::from(counts));
        let id = self.derived_id("copy").simple().to_string();
        let original = self.original_message_id();
        // The broker takes ids of up to 128 characters; the whole original is in its property.
        let readable: String = original.chars().take(96).collect();
        let mut properties = self.properties.clone();
        for name in DEAD_LETTERED {
            properties.remove(name);
        }
        let counted = i32::try_from(retry_count).unwrap_or(i32::MAX);
        properties.insert(RETRY_COUNT.into(), counted.into());
        properties.insert(ORIGINAL_MESSAGE_ID.into(), original.into());
        // A year beyond 9999 is the only way this format fails; the broker's own time stands then.
        let ages = counts || failure.class == Class::Waiting;
        let waited = if ages { Duration::ZERO } else { delay };
        if let Ok(first) = (self.first_enqueued_at() + waited).format(&Rfc3339) {
            properties.insert(FIRST_ENQUEUED_AT.into(), first.into());
        }
        trace::mark_failed(self, &mut properties);
        let last = format!("{}/{}", failure.stage, failure.code);
        properties.insert(LAST_FAILURE.into(), last.into());
        OutgoingMessage {
            body: self.body.clone(),
            message_id: Some(format!("{readable}~{retry_count}-{}", &id[..12])),
            correlation_id: self.correlation_id.clone(),
            session_id: self.session_id.clone(),
            content_type: self.content_type.clone(),
            subject: self.subject.clone(),
            scheduled_enqueue_time: Some(now + delay),
            properties,
            ..OutgoingMessage::default()
        }
    }
}

/// A dead letter as it is sent again. `letter` has the properties it has in the dead-letter queue, by
/// which [`Message::is_resent`] knows it; `once` is another one for each time it is sent again, such as
/// the lock token it was received under. It goes into the `MessageId`: under the letter's own, duplicate
/// detection would take the message and drop it.
#[must_use]
pub fn resent(mut letter: OutgoingMessage, once: Uuid) -> OutgoingMessage {
    let known = letter.properties.get(ORIGINAL_MESSAGE_ID);
    let original = known.and_then(Value::as_str).map(str::to_owned);
    let original = original.or_else(|| letter.message_id.clone());
    let original = original.unwrap_or_else(|| once.to_string());
    let readable: String = original.chars().take(96).collect();
    let id = once.simple().to_string();
    letter.message_id = Some(format!("{readable}~resent-{}", &id[20..]));
    letter
        .properties
        .insert(ORIGINAL_MESSAGE_ID.into(), original.into());
    letter
}

#[cfg(test)]
pub(crate) mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::failure::Stage;

    pub(crate) fn message(body: impl Into<Bytes>) -> Message {
        Message {
            body: body.into(),
            message_id: "m-1".into(),
            correlation_id: Some("c-1".into()),
            lock_token: Uuid::nil(),
            delivery_count: 1,
            enqueued_time: datetime!(2026-03-02 09:15:30 UTC),
            session_id: None,
            content_type: Some("application/json".into()),
            subject: None,
            properties: Properties::from([("traceparent".to_owned(), "00-ab-cd-01".into())]),
        }
    }

    fn as_received(copy: OutgoingMessage) -> Message {
        Message {
            body: copy.body,
            message_id: copy.message_id.unwrap(),
            properties: copy.properties,
            ..message("")
        }
    }

    #[test]
    fn a_retry_copy_keeps_body_and_properties_and_moves_the_bookkeeping_on() {
        let failure = Failure::transient(Stage::Deliver, "TargetUnavailable", "m");
        let now = datetime!(2026-03-02 09:16:00 UTC);
        let first = message("{ \"exact\": 1 }");
        let copy = first.retry_copy(now, Duration::from_secs(5), true, &failure);
        assert_eq!(copy.body, first.body);
        assert_eq!(
            copy.scheduled_enqueue_time,
            Some(datetime!(2026-03-02 09:16:05 UTC))
        );
        let copy = as_received(copy);
        assert_eq!(copy.retry_count(), 1);
        assert_eq!(copy.original_message_id(), "m-1");
        assert_eq!(copy.first_enqueued_at(), first.enqueued_time);
        assert_eq!(copy.properties["traceparent"], "00-ab-cd-01".into());
        assert_eq!(
            copy.properties[LAST_FAILURE],
            "deliver/TargetUnavailable".into()
        );
        assert!(copy.message_id.starts_with("m-1~1-"));
        assert!(first.is_first_attempt() && !copy.is_first_attempt());
    }

    #[test]
    fn a_message_resent_from_the_dead_letter_queue_starts_anew_and_still_owes_its_repair() {
        let mut dead = message("x");
        dead.properties.insert(RETRY_COUNT.into(), 12.into());
        let old = "2020-01-01T00:00:00Z";
        dead.properties.insert(FIRST_ENQUEUED_AT.into(), old.into());
        let reason = "RetriesExhausted";
        dead.properties
            .insert("DeadLetterReason".into(), reason.into());
        assert_eq!(dead.retry_count(), 0);
        assert_eq!(dead.first_enqueued_at(), dead.enqueued_time);
        assert!(!dead.is_first_attempt());
        let failure = Failure::transient(Stage::Deliver, "C", "m");
        let copy = dead.retry_copy(dead.enqueued_time, Duration::ZERO, true, &failure);
        assert!(!copy.properties.contains_key("DeadLetterReason"));
        assert_eq!(copy.properties[RETRY_COUNT], 1.into());
    }

    #[test]
    fn a_dead_letter_is_sent_again_under_an_id_of_its_own_each_time() {
        let reason = ("DeadLetterReason".to_owned(), "RetriesExhausted".into());
        let letter = OutgoingMessage {
            message_id: Some("x".repeat(128)),
            properties: Properties::from([reason]),
            ..OutgoingMessage::new("body")
        };
        let first = resent(letter.clone(), Uuid::from_u128(1));
        let second = resent(first.clone(), Uuid::from_u128(2));
        assert_ne!(first.message_id, second.message_id);
        assert_ne!(first.message_id, letter.message_id);
        assert!(second.message_id.as_ref().is_some_and(|id| id.len() <= 128));
        let second = as_received(second);
        assert!(second.is_resent());
        assert_eq!(
            Some(second.original_message_id()),
            letter.message_id.as_deref()
        );
    }

    #[test]
    fn waits_that_do_not_count_do_not_age_a_message_and_ids_stay_within_the_brokers_limit() {
        let failure = Failure::transient(Stage::Deliver, "C", "m");
        let first = Message {
            message_id: "x".repeat(128),
            ..message("x")
        };
        let day = Duration::from_secs(86_400);
        let copy = first.retry_copy(first.enqueued_time, day, false, &failure);
        assert!(copy.message_id.as_ref().is_some_and(|id| id.len() <= 128));
        assert_eq!(
            as_received(copy).first_enqueued_at(),
            first.enqueued_time + day
        );
    }

    #[test]
    fn duplicate_detection_folds_a_copy_sent_twice_and_nothing_else() {
        let failure = Failure::transient(Stage::Deliver, "C", "m");
        let id = |m: &Message, counts| {
            m.retry_copy(OffsetDateTime::UNIX_EPOCH, Duration::ZERO, counts, &failure)
                .message_id
        };
        let first = message("x");
        assert_eq!(id(&first, true), id(&first, true));
        // Two throttled copies in a row keep RetryCount 0, yet are two messages.
        let second = as_received(first.retry_copy(
            OffsetDateTime::UNIX_EPOCH,
            Duration::ZERO,
            false,
            &failure,
        ));
        assert_eq!(second.retry_count(), 0);
        assert!(!second.is_first_attempt());
        assert_ne!(id(&first, false), id(&second, false));
        // A redelivery may owe a repair that the copy of the delivery before it does not know of.
        let redelivered = Message {
            delivery_count: 2,
            ..first.clone()
        };
        assert_ne!(id(&first, true), id(&redelivered, true));
        // The same notification, posted again by a sweep after the detection window: a message of its own.
        let posted_again = Message {
            lock_token: Uuid::from_u128(2),
            ..first.clone()
        };
        assert_ne!(id(&first, true), id(&posted_again, true));
    }
}
