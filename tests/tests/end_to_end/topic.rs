//! Outbound as a topic with a subscription for each target.

use local_stack::apps;
use local_stack::stack::{INBOUND, OUTBOUND, SUBSCRIPTION, WITNESS};
use local_stack::target::Faults;
use serde_json::{Value, json};

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

fn warehouse() -> Value {
    serde_json::from_str(apps::sync_warehouse_json()).unwrap()
}

#[tokio::test]
async fn two_targets_are_each_served_and_acknowledge_in_columns_of_their_own() {
    let world = World::with_second_target(warehouse()).await;
    let (stack, id) = (&world.stack, world.account());
    // What fails at one is none of the other's business.
    stack.further_targets[0].target.set_down(true);
    world.save(id, json!({"name": "Both", "telephone1": "555-0123"}));
    world
        .until("acknowledged by the first", |_| {
            world.column(id, "dvs_ackstate") == 1
        })
        .await;
    assert_eq!(world.column(id, "dvs_warehousestate"), Value::Null);
    stack.further_targets[0].target.set_down(false);
    world.drained().await;
    let row = |target: &local_stack::target::Target| target.row("customers", &id.to_string());
    let (first, second) = (row(&stack.target), row(&stack.further_targets[0].target));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.body["name"], "Both");
    assert_eq!(second.body["name"], "Both");
    // Each by its own mapping.
    assert_eq!(first.body["phone"], "555-0123");
    assert!(!second.body.contains_key("phone"));
    assert_eq!(world.column(id, "dvs_targetid"), first.id.as_str());
    assert_eq!(world.column(id, "dvs_warehouseid"), second.id.as_str());
    assert_eq!(world.column(id, "dvs_warehousestate"), 1);
    assert_eq!(world.column(id, "dvs_ackerror"), Value::Null);
    // Two acknowledgements are two changes of the row that nobody is told of.
    assert_eq!(stack.dataverse.changes().len(), 1);
    let saved = stack.dataverse.changes()[0].version;
    for column in ["dvs_ackversion", "dvs_warehouseversion"] {
        let version = world.column(id, column);
        let version: i64 = version.as_str().unwrap().parse().unwrap();
        assert!(version >= saved, "{column}");
    }
}

#[tokio::test]
async fn a_rejection_by_one_target_leaves_what_the_other_said_on_the_row() {
    let mut second = warehouse();
    // Sent as a name, this is refused by the target's rule.
    second["tables"]["account"]["fields"]["name"] = json!({"constant": "REJECT"});
    let world = World::with_second_target(second).await;
    let id = world.account();
    world.save(id, json!({"name": "Good"}));
    world
        .until("both answered", |_| {
            world.column(id, "dvs_ackstate") == 1 && world.column(id, "dvs_warehousestate") == 3
        })
        .await;
    let error = world.column(id, "dvs_warehouseerror");
    assert!(
        error.as_str().unwrap().contains("RejectedByTarget"),
        "{error}"
    );
    assert_eq!(world.column(id, "dvs_ackerror"), Value::Null);
}

#[tokio::test]
async fn an_acknowledgement_of_a_target_that_inbound_fn_does_not_know_is_given_up_with_the_fix() {
    let world = World::start().await;
    let body = json!({"schemaVersion": 1, "correlationId": "c-1", "notificationId": "n-1", "table": "account",
        "sourceRowId": world.account(), "targetSystem": "warehouse", "outcome": "delivered",
        "sourceVersion": "1", "processedAt": "2026-03-02T09:15:30Z"});
    world.send_to(INBOUND, &body.to_string()).await;
    world
        .until("dead-lettered", |s| {
            s.bus.counts(INBOUND).unwrap().dead_letter == 1
        })
        .await;
    let dead = &world.dead(INBOUND)[0];
    assert_eq!(
        dead.dead_letter_reason.as_deref(),
        Some("UnknownTargetSystem")
    );
    let text = dead.dead_letter_description.as_deref().unwrap();
    for part in ["\"warehouse\"", "customer-api (sync.json)", "SYNC_FILES"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn inbound_fn_does_not_start_with_files_that_share_acknowledgement_columns_and_names_both() {
    let mut second = warehouse();
    second["tables"]["contact"]["acknowledgement"]["state"] = json!("dvs_ackstate");
    let world = World::with_second_target(second).await;
    world
        .until("refused", |_| {
            let log = world.log.lock().unwrap();
            log.iter().any(|line| line.contains("do not go together"))
        })
        .await;
    let log = world.log.lock().unwrap().join("\n");
    let expected = "tables.contact.acknowledgement.state of sync.json and .state of sync.second.json are both dvs_ackstate";
    assert!(log.contains(expected), "{log}");
}
