//! Entrances for fuzzing, which sees nothing of the broker otherwise. See `fuzz/`.

use bytes::Bytes;
use uuid::Uuid;

use super::queue::message::{BATCH_FORMAT, Message};
use super::server::fuzzing;

/// Frames on an open connection.
pub fn frames(bytes: &[u8]) {
    fuzzing::frames(bytes);
}

/// A message to a queue, to its management node or to `$cbs`.
pub fn transfer(bytes: &[u8]) {
    fuzzing::transfer(bytes);
}

/// A message's sections, as one message and as a batch.
pub fn message(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    for format in [0, BATCH_FORMAT] {
        let parsed = Message::parse_transfer(format, &bytes, &mut Uuid::new_v4);
        for mut message in parsed.unwrap_or_default() {
            message.property_fields();
            message.set_application_properties(&[("key".into(), serde_amqp::Value::Null)]);
        }
    }
}
