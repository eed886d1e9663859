//! The copy that a letter is sent again as. Pure.

use service_bus::{OutgoingMessage, ReceivedMessage};
use sync_core::message::resent;
use sync_core::topic::TARGET_SYSTEM;
use uuid::Uuid;

use crate::letter::RESEND_ID;
use crate::place::Place;

/// What the work `id` sends for a letter of a place.
///
/// Its `MessageId` is the same when the work does it twice, after a crash between the copy and the letter's
/// end: duplicate detection folds that. It lives as long as the queue's messages do, whatever the letter's
/// own time to live was, which may be what it died of.
pub(crate) fn copy(letter: &ReceivedMessage, place: &Place, id: Uuid) -> OutgoingMessage {
    let mut properties = letter.properties.clone();
    if let Some(target) = place.target() {
        // A letter that the broker gave up by itself does not say for whom it is.
        properties
            .entry(TARGET_SYSTEM.to_owned())
            .or_insert_with(|| target.into());
    }
    properties.insert(RESEND_ID.into(), id.to_string().into());
    let copy = OutgoingMessage {
        body: letter.body.clone(),
        message_id: letter.message_id.clone(),
        correlation_id: letter.correlation_id.clone(),
        session_id: letter.session_id.clone(),
        partition_key: letter.partition_key.clone(),
        content_type: letter.content_type.clone(),
        subject: letter.subject.clone(),
        reply_to: letter.reply_to.clone(),
        to: letter.to.clone(),
        properties,
        ..OutgoingMessage::default()
    };
    let name = format!("{}/{}", place.from(), letter.sequence_number);
    resent(copy, Uuid::new_v5(&id, name.as_bytes()))
}
