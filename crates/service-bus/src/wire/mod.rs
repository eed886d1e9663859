//! The wire formats: pure conversions between our types and AMQP's. No I/O.

pub(crate) mod failure;
pub(crate) mod incoming;
pub(crate) mod management;
pub(crate) mod outgoing;
pub(crate) mod session;
pub(crate) mod settlement;
pub(crate) mod value;

#[cfg(test)]
pub(crate) mod golden;

/// The message annotations that Azure Service Bus defines ("AMQP 1.0 protocol guide").
pub(crate) mod annotation {
    pub(crate) const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
    pub(crate) const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
    pub(crate) const ENQUEUED_SEQUENCE_NUMBER: &str = "x-opt-enqueue-sequence-number";
    pub(crate) const LOCKED_UNTIL: &str = "x-opt-locked-until";
    pub(crate) const MESSAGE_STATE: &str = "x-opt-message-state";
    pub(crate) const DEAD_LETTER_SOURCE: &str = "x-opt-deadletter-source";
    pub(crate) const PARTITION_KEY: &str = "x-opt-partition-key";
    pub(crate) const SCHEDULED_ENQUEUE_TIME: &str = "x-opt-scheduled-enqueue-time";
}

/// Any message, with any kind of body.
pub(crate) type AnyMessage =
    fe2o3_amqp_types::messaging::Message<fe2o3_amqp_types::messaging::Body<serde_amqp::Value>>;
