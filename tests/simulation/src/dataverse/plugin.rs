//! The plug-in's posting step: after the commit, send, then delete the outbox row.

use std::sync::Arc;
use std::time::Duration;

use service_bus::OutgoingMessage;
use tokio::time::sleep;
use uuid::Uuid;

use crate::plan::Fault;
use crate::world::{Part, Which, World};

/// Posts one outbox row, as far as it gets.
pub(super) async fn post(world: Arc<World>, id: Uuid) {
    step(&world, id).await;
    world.lock().busy -= 1;
}

async fn step(world: &Arc<World>, id: Uuid) {
    let pause = world.lock().dice.millis(1, 300);
    sleep(pause).await;
    {
        let mut s = world.lock();
        if s.strikes(Fault::Plugin) {
            s.note(None, "the plug-in dies before it sends".into());
            return;
        }
        let fails = s.strikes(Fault::Plugin) || s.is_down(Part::OutboundQueue);
        let Some(entry) = s.dataverse.outbox.get(&id) else {
            return;
        };
        let change = &s.truth.changes[entry.change];
        let message = OutgoingMessage {
            body: change.body.clone().into(),
            message_id: Some(change.notification.clone()),
            correlation_id: Some(format!("c-{}", change.notification)),
            content_type: Some("application/json".into()),
            ..OutgoingMessage::default()
        };
        if fails {
            let (now, version) = (s.now(), s.dataverse.next_version());
            if let Some(entry) = s.dataverse.outbox.get_mut(&id) {
                entry.version = version;
                entry.attempts += 1;
                entry.next = Some(now + Duration::from_secs(5));
                entry.reason = Some("The queue could not be reached.".into());
            }
            return;
        }
        s.accept(world, Which::Outbound, message);
        if s.strikes(Fault::Plugin) {
            s.note(None, "the plug-in dies between send and delete".into());
            return;
        }
    }
    let pause = world.lock().hop();
    sleep(pause).await;
    world.lock().dataverse.outbox.remove(&id);
}
