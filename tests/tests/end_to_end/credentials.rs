//! Credentials over the whole loop: fetched late, once, and rotated under way.

use std::collections::BTreeMap;
use std::time::Duration;

use local_stack::stack::{OUTBOUND, Stack, TARGET_SECRET, instance_name};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, notification};

/// Calls of the identity endpoint by one instance of outbound-fn, by resource.
fn token_requests(stack: &Stack, number: usize) -> BTreeMap<String, usize> {
    let name = instance_name("outbound-fn", number);
    let mut calls = BTreeMap::new();
    for call in stack.identity.requests() {
        if call.instance.as_ref() == Some(&name) {
            *calls.entry(call.resource.unwrap_or_default()).or_default() += 1;
        }
    }
    calls
}

#[tokio::test]
async fn while_only_invalid_messages_arrive_no_secret_and_no_token_is_asked_for() {
    let world = World::start().await;
    let row = world.account();
    let good = notification("account", row);
    let without = |member: &str| {
        let mut body: serde_json::Value = serde_json::from_str(&good).unwrap();
        body.as_object_mut().unwrap().remove(member);
        body.to_string()
    };
    let with = |member: &str, value: serde_json::Value| {
        let mut body: serde_json::Value = serde_json::from_str(&good).unwrap();
        body[member] = value;
        body.to_string()
    };
    let invalid = [
        "{broken".to_owned(),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        without("table"),
        without("sourceRowId"),
        without("schemaVersion"),
        with("schemaVersion", json!(99)),
        with("sourceRowId", json!("no guid")),
        with("table", json!("invoice")),
        json!({"PrimaryEntityName": "account", "MessageName": "Update"}).to_string(),
    ];
    for body in &invalid {
        world.send(body).await;
    }
    world
        .until("all dead-lettered", |s| {
            s.bus.counts(OUTBOUND).unwrap().dead_letter == invalid.len()
        })
        .await;
    assert!(world.stack.vault.requests().is_empty());
    assert_eq!(token_requests(&world.stack, 1), BTreeMap::new());
    assert_eq!(world.stack.target.counters().calls, 0);

    // And from the first valid one on: one token for each scope, one read.
    for id in world.stack.dataverse.ids("account") {
        world.save(id, json!({"telephone1": "555-0100"}));
    }
    world.drained().await;
    assert_eq!(world.stack.vault.reads(), 1);
    let tokens = token_requests(&world.stack, 1);
    assert_eq!(tokens.len(), 2, "Dataverse and Key Vault: {tokens:?}");
    assert!(tokens.values().all(|calls| *calls == 1), "{tokens:?}");
}

#[tokio::test]
async fn a_key_rotated_with_an_overlap_costs_no_refused_call() {
    let refresh = ("SECRET_REFRESH_SECONDS", "3".to_owned());
    let world = World::with_settings(&[refresh]).await;
    let ids = world.stack.dataverse.ids("account");
    let save_all = |round: u32| {
        for id in &ids {
            world.save(*id, json!({"telephone1": format!("555-{round:04}")}));
        }
    };
    save_all(0);
    world.drained().await;
    let key = Uuid::new_v4().simple().to_string();
    let read_before = world.stack.vault.reads();
    let old = world.stack.target.api_key().to_owned();
    world.stack.target.accept_secrets(&[&old, &key]);
    world.stack.vault.set_secret(TARGET_SECRET, &key);
    // What is delivered makes the app read the secret again, once that is due.
    let mut round = 0;
    while world.stack.vault.reads() == read_before {
        round += 1;
        assert!(round < 1_000, "it never read the new version");
        save_all(round);
        world.drained().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.stack.target.accept_secrets(&[&key]);
    save_all(round + 1);
    world.drained().await;
    assert_arrived(&world, &ids, &format!("555-{:04}", round + 1));
    assert_eq!(world.stack.target.counters().unauthorized, 0);
}

#[tokio::test]
async fn a_key_replaced_at_once_costs_one_refused_call_and_one_read() {
    let world = World::start().await;
    let ids = world.stack.dataverse.ids("account");
    world.save(ids[0], json!({"telephone1": "555-0001"}));
    world.drained().await;
    let key = Uuid::new_v4().simple().to_string();
    world.stack.vault.set_secret(TARGET_SECRET, &key);
    world.stack.target.accept_secrets(&[&key]);
    world.save(ids[0], json!({"telephone1": "555-0002"}));
    world.drained().await;
    for id in &ids {
        world.save(*id, json!({"telephone1": "555-0003"}));
    }
    world.drained().await;
    assert_arrived(&world, &ids, "555-0003");
    assert_eq!(world.stack.target.counters().unauthorized, 1);
    assert_eq!(world.stack.vault.reads(), 2);
    assert_eq!(world.stack.bus.counters(OUTBOUND).unwrap().scheduled, 0);
    let tokens = token_requests(&world.stack, 1);
    assert!(tokens.values().all(|calls| *calls == 1), "{tokens:?}");
}

fn assert_arrived(world: &World, ids: &[Uuid], telephone: &str) {
    assert!(world.dead(OUTBOUND).is_empty());
    for id in ids {
        assert_eq!(world.column(*id, "telephone1"), telephone);
        assert_eq!(world.column(*id, "dvs_ackstate"), 1);
        let row = world.stack.target.row("customers", &id.to_string());
        let body = serde_json::Value::Object(row.unwrap().body).to_string();
        assert!(body.contains(telephone), "{body}");
    }
}
