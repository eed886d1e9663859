//! A person who looks at the dead-letter queue now and then, and sends some of it again.

use std::sync::Arc;
use std::time::Duration;

use service_bus::OutgoingMessage;
use sync_core::message::resent;
use tokio::time::sleep;
use uuid::Uuid;

use crate::plan::Fault;
use crate::world::{Part, Which, World};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(45);

/// Resends dead letters until the faults stop.
pub(crate) async fn operator(world: Arc<World>) {
    loop {
        sleep(PAUSE).await;
        let mut s = world.lock();
        if s.calm {
            return;
        }
        if s.is_down(Part::OutboundQueue) {
            continue;
        }
        for index in (0..s.outbound.dead.len()).rev() {
            if s.strikes(Fault::Resend) {
                let dead = s.outbound.dead.remove(index);
                s.figures.resent += 1;
                let message = again(dead, s.figures.resent);
                s.note(None, format!("somebody resends {:?}", message.message_id));
                s.accept(&world, Which::Outbound, message);
            }
        }
    }
}

/// The message as a resending tool sends it: with what the dead-letter queue says about it.
fn again(dead: crate::broker::Dead, number: u64) -> OutgoingMessage {
    let stored = dead.stored;
    let mut properties = stored.properties;
    properties.extend(dead.properties);
    properties.insert("DeadLetterReason".into(), dead.reason.into());
    properties.insert("DeadLetterErrorDescription".into(), dead.description.into());
    let letter = OutgoingMessage {
        body: stored.body,
        message_id: Some(stored.message_id),
        correlation_id: stored.correlation_id,
        session_id: stored.session_id,
        content_type: stored.content_type,
        subject: stored.subject,
        properties,
        ..OutgoingMessage::default()
    };
    resent(letter, Uuid::from_u128(number.into()))
}
