//! Rows that wait for another row to reach the target first.

use std::time::Duration;

use serde_json::{Value, json};
use service_bus::Value as Property;
use sync_core::decide::Disposition;
use sync_core::failure::{Class, Failure, Stage};
use sync_core::message::{FIRST_ENQUEUED_AT, LAST_FAILURE, Message, RETRY_COUNT};
use sync_core::outbound::Outbound;

use crate::world::{World, message};

/// Contacts that need their account, and carry its key in the target.
fn outbound(world: &World) -> Outbound {
    let mut sync: Value = serde_json::from_str(include_str!("../../../../sync.json")).unwrap();
    let contact = &mut sync["tables"]["contact"];
    contact["requires"] = json!([{"lookup": "parentcustomerid_account", "table": "account"}]);
    contact["fields"]["customerKey"] = json!("parentcustomerid_account/dvs_targetid");
    world.outbound_of(&sync.to_string())
}

fn text(property: Option<&Property>) -> Option<&str> {
    property.and_then(Property::as_str)
}

#[tokio::test(start_paused = true)]
async fn a_row_is_delivered_once_the_row_it_requires_was_acknowledged_and_waiting_costs_no_retry() {
    let world = World::new("Jo", 5);
    world.lock().parent = json!({"dvs_targetid": null});
    let first = message("m", 5);
    let got = outbound(&world).handle(first.clone()).await.unwrap();
    assert!(
        matches!(got, Disposition::Reschedule { counts: false, .. }),
        "{got:?}"
    );
    let copy = world.lock().outbound_sent[0].clone();
    let properties = copy.properties;
    assert_eq!(
        text(properties.get(LAST_FAILURE)),
        Some("map/ParentNotAcknowledged")
    );
    assert_eq!(properties.get(RETRY_COUNT), Some(&0.into()));
    // It ages: the time it was first enqueued stays.
    let copied = Message {
        message_id: copy.message_id.unwrap(),
        properties,
        ..first.clone()
    };
    assert!(copied.properties.contains_key(FIRST_ENQUEUED_AT));
    assert_eq!(copied.first_enqueued_at(), first.first_enqueued_at());
    assert!(world.lock().target.is_empty());
    world.lock().parent = json!({"dvs_targetid": "C-1"});
    let got = outbound(&world).handle(copied).await.unwrap();
    assert_eq!(got, Disposition::Complete);
    assert_eq!(world.lock().target.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_target_is_down_a_row_waits_for_the_target_and_does_not_age() {
    let world = World::new("Jo", 5);
    let class = Class::TargetDown {
        retry_after: Duration::from_secs(30),
    };
    {
        let mut s = world.lock();
        s.parent = json!({"dvs_targetid": null});
        s.unavailable = Some(Failure::new(class, Stage::Deliver, "BreakerOpen", "Down."));
    }
    let got = outbound(&world).handle(message("m", 5)).await.unwrap();
    assert!(
        matches!(got, Disposition::Reschedule { counts: false, delay } if delay >= Duration::from_secs(30)),
        "{got:?}"
    );
    let copy = world.lock().outbound_sent[0].clone();
    assert_eq!(
        text(copy.properties.get(LAST_FAILURE)),
        Some("deliver/BreakerOpen")
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_lookup_requires_nothing() {
    let world = World::new("Jo", 5);
    let got = outbound(&world).handle(message("m", 5)).await.unwrap();
    assert_eq!(got, Disposition::Complete);
}
