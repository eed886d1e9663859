//! The outbound passes.

use crate::world::{ROW, World, busy, message, raw, refused};
use sync_core::acknowledgement::Outcome;
use sync_core::decide::Disposition;
use sync_core::message::{Message, RETRY_COUNT};
use sync_core::snapshot::RowVersion;

#[tokio::test(start_paused = true)]
async fn a_notification_becomes_a_delivery_and_one_acknowledgement_with_both_keys() {
    let world = World::new("Jo", 5);
    let got = world.outbound().handle(message("n1", 5)).await.unwrap();
    assert_eq!(got, Disposition::Complete);
    let s = world.lock();
    assert_eq!(s.log, ["deliver", "acknowledge"]);
    let ack = &s.acknowledgements[0];
    assert_eq!(ack.source_row_id, crate::world::ROW);
    assert_eq!(ack.target_row_id.as_deref(), Some("P-1"));
    assert_eq!(ack.source_version, Some(RowVersion(5)));
    assert_eq!(
        (ack.outcome, ack.correlation_id.as_str()),
        (Outcome::Delivered, "c-n1")
    );
}

#[tokio::test(start_paused = true)]
async fn fifty_notifications_of_one_row_cost_at_most_two_passes_and_all_complete() {
    let world = World::new("v1", 1);
    let outbound = world.outbound();
    let calls: Vec<_> = (1..=50)
        .map(|n| {
            let (outbound, world) = (outbound.clone(), world.clone());
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_micros(n * 300)).await;
                let version = i64::try_from(n).unwrap();
                world.lock().row = Some((format!("v{n}"), version));
                outbound.handle(message(&format!("n{n}"), version)).await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), Disposition::Complete);
    }
    let s = world.lock();
    assert_eq!(s.target.last().unwrap().as_deref(), Some("v50"));
    assert!(s.target.len() <= 2, "{:?}", s.target);
    assert_eq!(s.acknowledgements.len(), 1);
    assert_eq!(s.acknowledgements[0].source_version, Some(RowVersion(50)));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_changed_during_its_delivery_is_delivered_again_before_the_answer() {
    let world = World::new("old", 5);
    world
        .lock()
        .saved_during_delivery
        .push_back(Some("new".into()));
    world.outbound().handle(message("n1", 5)).await.unwrap();
    let s = world.lock();
    assert_eq!(s.target, [Some("old".into()), Some("new".into())]);
    assert_eq!(s.acknowledgements[0].source_version, Some(RowVersion(6)));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_moved_is_delivered_again_even_when_the_payload_is_the_same() {
    // Another instance delivered B while the row went from A to B and back to A; its notification is
    // complete, and only this flight is left to repair the target.
    let world = World::new("A", 5);
    {
        let mut s = world.lock();
        s.overwritten_after_delivery.push_back(Some("B".into()));
        s.saved_during_delivery.push_back(Some("A".into()));
    }
    world.outbound().handle(message("n1", 5)).await.unwrap();
    let s = world.lock();
    assert_eq!(s.target.last().unwrap().as_deref(), Some("A"));
    assert_eq!(s.acknowledgements[0].source_version, Some(RowVersion(6)));
}

/// Starts `n1`, lets `joining` join once `n1` was delivered and looks, and waits for both.
async fn join_while_looking(world: &World, joining: Message) {
    let outbound = world.outbound();
    let first = tokio::spawn({
        let outbound = outbound.clone();
        async move { outbound.handle(message("n1", 5)).await }
    });
    for _ in 0..1000 {
        if world.lock().looks > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(world.lock().looks, 1, "it looks after delivering");
    let joined = outbound.handle(joining).await.unwrap();
    assert_eq!(joined, Disposition::Complete);
    assert_eq!(first.await.unwrap().unwrap(), Disposition::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_joins_after_the_delivery_still_gets_one_of_its_own() {
    // What its earlier attempt sent without getting an answer has just overwritten this delivery.
    let world = World::new("new", 5);
    let late = Some("old".into());
    world.lock().overwritten_after_delivery.push_back(late);
    let mut copy = message("n2~1", 4);
    copy.properties.insert(RETRY_COUNT.into(), 1.into());
    join_while_looking(&world, copy).await;
    assert_eq!(world.lock().target.last().unwrap().as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_comes_back_once_what_its_dead_attempt_sent_must_have_taken_effect() {
    let world = World::new("new", 5);
    let redelivered = Message {
        delivery_count: 2,
        ..message("n1", 5)
    };
    let got = world.outbound().handle(redelivered).await.unwrap();
    // sync.json: target.timeoutSeconds is 20, and its process may have died right after sending.
    let wait = std::time::Duration::from_secs(40);
    assert!(
        matches!(got, Disposition::Reschedule { delay, counts: true } if delay >= wait),
        "{got:?}"
    );
    assert!(world.lock().target.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_every_process_ends_in_the_dead_letter_queue() {
    let world = World::new("new", 5);
    let mut killer = message("n1", 5);
    killer.delivery_count = 2;
    killer.properties.insert(RETRY_COUNT.into(), 12.into());
    world.outbound().handle(killer).await.unwrap();
    assert_eq!(world.lock().dead[0].0, "RetriesExhausted");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_without_an_answer_is_not_repeated_before_it_can_have_taken_effect() {
    let world = World::new("Jo", 5);
    let wait = std::time::Duration::from_secs(20);
    world.lock().refusals.push_back(busy().lingering(wait));
    let got = world.outbound().handle(message("n1", 5)).await.unwrap();
    assert!(
        matches!(got, Disposition::Reschedule { delay, counts: true } if delay >= wait),
        "{got:?}"
    );
    assert!(world.lock().target.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_joins_after_the_delivery_only_costs_a_look() {
    let world = World::new("new", 5);
    join_while_looking(&world, message("n2", 4)).await;
    assert_eq!(world.lock().target.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_joins_a_delete_is_delivered_itself() {
    // In between, the row came back, and another instance delivered it.
    let world = World::new("x", 5);
    {
        let mut s = world.lock();
        s.row = None;
        s.overwritten_after_delivery.push_back(Some("back".into()));
    }
    join_while_looking(&world, message("n2", 9)).await;
    let s = world.lock();
    assert_eq!(s.target.last().unwrap(), &None);
    assert_eq!(s.versions, [Some(5), Some(9)]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_never_older_than_what_this_flight_delivered_before() {
    let world = World::new("x", 9);
    world.lock().saved_during_delivery.push_back(None);
    world.outbound().handle(message("n1", 5)).await.unwrap();
    assert_eq!(world.lock().versions, [Some(9), Some(9)]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_carries_no_version_when_one_of_its_notifications_has_none() {
    let world = World::new("x", 9);
    world.lock().row = None;
    let native = String::from_utf8(message("n2", 5).body.to_vec()).unwrap();
    let native = native.replace(",\"rowVersion\":\"5\"", "");
    assert!(!native.contains("rowVersion"));
    let outbound = world.outbound();
    let (one, two) = tokio::join!(
        outbound.handle(message("n1", 5)),
        outbound.handle(raw("n2", native))
    );
    assert_eq!(
        (one.unwrap(), two.unwrap()),
        (Disposition::Complete, Disposition::Complete)
    );
    assert_eq!(world.lock().versions, [None]);
}

#[tokio::test(start_paused = true)]
async fn each_decision_to_deliver_has_a_key_of_its_own_which_its_tries_share() {
    let world = World::new("x", 5);
    world.lock().refusals.push_back(busy());
    let outbound = world.outbound();
    outbound.handle(message("n1", 5)).await.unwrap();
    let mut copy = message("n1~1", 5);
    copy.properties.insert(RETRY_COUNT.into(), 1.into());
    outbound.handle(copy).await.unwrap();
    world.lock().row = None;
    outbound.handle(message("n2", 5)).await.unwrap();
    let keys = world.lock().keys.clone();
    assert_eq!(keys.len(), 4);
    assert_eq!(keys[0], keys[1], "a try of the same delivery");
    assert!(keys[1] != keys[2] && keys[2] != keys[3], "{keys:?}");
    assert!(keys[0].starts_with(&format!("contact:{ROW}:5:")));
}

#[tokio::test(start_paused = true)]
async fn a_missing_row_is_delivered_as_a_delete_and_a_resurrected_one_as_a_row() {
    let world = World::new("x", 5);
    world.lock().row = None;
    world
        .lock()
        .saved_during_delivery
        .push_back(Some("back".into()));
    world.outbound().handle(message("n1", 5)).await.unwrap();
    let s = world.lock();
    assert_eq!(s.target, [None, Some("back".into())]);
    assert_eq!(s.acknowledgements[0].outcome, Outcome::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_acknowledged_before_is_superseded_only_on_a_first_attempt() {
    let world = World::new("x", 9);
    world.lock().acknowledged = Some(9);
    let outbound = world.outbound();
    outbound.handle(message("n1", 5)).await.unwrap();
    assert!(world.lock().target.is_empty());
    // A redelivery may have delivered something older in its first life: it owes the repair.
    assert_eq!(
        world.comes_back(message("n2", 5)).await,
        Disposition::Complete
    );
    assert_eq!(world.lock().target.len(), 1);
    // So does a retry copy, and a request to send the row whatever was acknowledged.
    let mut copy = message("n3~1", 5);
    copy.properties.insert(RETRY_COUNT.into(), 1.into());
    outbound.handle(copy).await.unwrap();
    let resync = String::from_utf8(message("n4", 5).body.to_vec()).unwrap();
    outbound
        .handle(raw("n4", resync.replace("\"update\"", "\"resync\"")))
        .await
        .unwrap();
    assert_eq!(world.lock().target.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_goes_a_b_a_is_delivered_though_the_acknowledged_hash_is_that_of_a() {
    // Acknowledged: A at 5. Delivered but not yet acknowledged: B at 6. Now A again, at 7.
    let world = World::new("A", 7);
    world.lock().acknowledged = Some(5);
    world.lock().target.push(Some("B".into()));
    world.outbound().handle(message("n3", 7)).await.unwrap();
    assert_eq!(world.lock().target.last().unwrap().as_deref(), Some("A"));
}

#[tokio::test(start_paused = true)]
async fn a_blip_is_absorbed_and_a_longer_failure_becomes_a_scheduled_copy() {
    let world = World::new("Jo", 5);
    world.lock().refusals.extend([busy(), busy()]);
    let outbound = world.outbound();
    assert_eq!(
        outbound.handle(message("n1", 5)).await.unwrap(),
        Disposition::Complete
    );
    world.lock().refusals.extend([busy(), busy(), busy()]);
    let got = outbound.handle(message("n2", 5)).await.unwrap();
    assert!(matches!(got, Disposition::Reschedule { counts: true, .. }));
    let s = world.lock();
    assert_eq!(s.outbound_sent[0].properties[RETRY_COUNT], 1.into());
    assert!(s.outbound_sent[0].scheduled_enqueue_time.is_some());
    assert_eq!(s.outbound_sent[0].body, message("n2", 5).body);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_tells_the_row_first_and_is_dead_lettered_after_one_attempt() {
    let world = World::new("Jo", 5);
    world.lock().refusals.push_back(refused());
    world.outbound().handle(message("n1", 5)).await.unwrap();
    let s = world.lock();
    assert_eq!(s.log, ["acknowledge", "dead-letter"]);
    let (reason, description, properties) = &s.dead[0];
    assert_eq!(reason, "RejectedByTarget");
    assert!(description.starts_with("deliver: "), "{description}");
    assert_eq!(properties["FailureStage"], "deliver".into());
    assert_eq!(properties["FailureStatus"], 422.into());
    let ack = &s.acknowledgements[0];
    assert_eq!(ack.outcome, Outcome::Rejected);
    assert_eq!(ack.error.as_ref().unwrap().code, "RejectedByTarget");
}

#[tokio::test(start_paused = true)]
async fn a_correction_that_joins_while_the_mistake_is_refused_is_delivered() {
    let world = World::new("mistake", 5);
    world.lock().refusals.push_back(refused());
    let outbound = world.outbound();
    let first = tokio::spawn({
        let outbound = outbound.clone();
        async move { outbound.handle(message("n1", 5)).await }
    });
    // The mistake has been read and is under way.
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    world.lock().row = Some(("corrected".into(), 6));
    let second = outbound.handle(message("n2", 6)).await.unwrap();
    assert_eq!(second, Disposition::Complete);
    assert_eq!(first.await.unwrap().unwrap(), Disposition::Complete);
    let s = world.lock();
    assert_eq!(s.target, [Some("corrected".into())]);
    assert!(s.dead.is_empty());
}

#[tokio::test(start_paused = true)]
async fn broken_bodies_and_unknown_tables_are_dead_lettered_without_a_read() {
    let world = World::new("Jo", 5);
    let outbound = world.outbound();
    outbound
        .handle(raw("n1", "{not json".into()))
        .await
        .unwrap();
    let other = String::from_utf8(message("n2", 5).body.to_vec()).unwrap();
    outbound
        .handle(raw("n2", other.replace("contact", "invoice")))
        .await
        .unwrap();
    let s = world.lock();
    assert_eq!(s.fetches, 0);
    let reasons: Vec<_> = s.dead.iter().map(|(reason, ..)| reason.as_str()).collect();
    assert_eq!(reasons, ["InvalidNotification", "UnknownTable"]);
    assert!(s.dead[1].1.contains("\"invoice\"") && s.dead[1].1.contains("account, contact"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_completed_while_its_acknowledgement_cannot_be_queued() {
    let world = World::new("Jo", 5);
    world.lock().inbound_down = true;
    let got = world.outbound().handle(message("n1", 5)).await.unwrap();
    assert!(matches!(got, Disposition::Reschedule { .. }));
    assert_eq!(world.lock().log, ["deliver", "copy"]);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_that_is_dropped_does_not_take_the_messages_that_joined_it_along() {
    let world = World::new("Jo", 5);
    let outbound = world.outbound();
    let first = tokio::spawn({
        let outbound = outbound.clone();
        async move { outbound.handle(message("n1", 5)).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let second = tokio::spawn(async move { outbound.handle(message("n2", 5)).await });
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), Disposition::Complete);
}
