//! Outbound as a topic with a subscription for each target.

use local_stack::stack::{OUTBOUND, SUBSCRIPTION, WITNESS};
use local_stack::target::Faults;
use serde_json::json;

use crate::world::{World, notification};

#[tokio::test]
async fn a_retry_copy_comes_back_to_the_subscription_it_came_from_and_to_no_other() {
    let world = World::with_topic("customer-api").await;
    world.stack.target.set_down(true);
    let id = world.account();
    world.save(id, json!({"name": "Patient"}));
    world
        .until("a second retry", |s| {
            let topic = s.bus.snapshot(OUTBOUND).unwrap();
            topic.scheduled.iter().any(|m| {
                m.properties.get("RetryCount") == Some(&json!(2))
                    && m.properties.get("TargetSystem") == Some(&json!("customer-api"))
            })
        })
        .await;
    world.stack.target.set_down(false);
    world.drained().await;
    let row = world.stack.target.row("customers", &id.to_string());
    assert_eq!(row.unwrap().body["name"], "Patient");
    assert_eq!(world.column(id, "dvs_ackstate"), 1);
    assert!(world.dead(SUBSCRIPTION).is_empty());
    // Of the other target's subscription nobody took anything: the new notification, once.
    let witness = world.stack.bus.snapshot(WITNESS).unwrap().active;
    assert_eq!(witness.len(), 1, "{witness:?}");
    assert!(!witness[0].properties.contains_key("TargetSystem"));
    assert!(!witness[0].properties.contains_key("RetryCount"));
}

#[tokio::test]
async fn a_dead_letter_stays_with_its_subscription_and_names_its_target() {
    let world = World::with_topic("customer-api").await;
    world.send(&notification("invoice", world.account())).await;
    world
        .until("dead-lettered", |s| {
            s.bus.counts(SUBSCRIPTION).unwrap().dead_letter == 1
        })
        .await;
    world.drained().await;
    let dead = &world.dead(SUBSCRIPTION)[0];
    assert_eq!(dead.dead_letter_reason.as_deref(), Some("UnknownTable"));
    assert_eq!(dead.properties["TargetSystem"], "customer-api");
    let witness = world.stack.bus.counts(WITNESS).unwrap();
    assert_eq!((witness.active, witness.dead_letter), (1, 0));
}

#[tokio::test]
async fn everything_arrives_through_a_topic_while_the_target_fails_now_and_then() {
    let world = World::with_topic("customer-api").await;
    world.stack.target.set_faults(Faults {
        rate_500: 0.5,
        ..Faults::default()
    });
    for id in world.stack.dataverse.ids("account") {
        world.save(id, json!({"name": format!("Through {id}")}));
    }
    world.drained().await;
    for id in world.stack.dataverse.ids("account") {
        let row = world.stack.target.row("customers", &id.to_string());
        assert_eq!(row.unwrap().body["name"], format!("Through {id}"));
        assert_eq!(world.column(id, "dvs_ackstate"), 1);
    }
    assert_eq!(world.stack.bus.counts(WITNESS).unwrap().active, 10);
}

#[tokio::test]
async fn an_app_whose_subscription_is_another_targets_does_not_start_and_says_how_to_mend_it() {
    // The subscription's rule is for customer-api.
    let world = World::with_topic("marketing").await;
    world
        .until("refused", |_| {
            let log = world.log.lock().unwrap();
            log.iter()
                .any(|line| line.contains("OUTBOUND_SUBSCRIPTION=customer-api"))
        })
        .await;
    let log = world.log.lock().unwrap().join("\n");
    for part in [
        "would let in retry copies that are for another target",
        "TargetSystem IS NULL OR TargetSystem = 'customer-api'",
        "az servicebus topic subscription rule create",
        "TargetSystem IS NULL OR TargetSystem = 'marketing'",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
