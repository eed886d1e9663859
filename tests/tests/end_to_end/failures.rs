//! Rows on their way, when something goes wrong.

use local_stack::apps;
use local_stack::dataverse::{DataverseFaults, Script, ScriptedAnswer, ScriptedFault};
use local_stack::stack::{INBOUND, OUTBOUND};
use local_stack::target::Faults;
use serde_json::{Value, json};

use crate::world::{World, notification};

#[tokio::test]
async fn a_broken_body_an_unknown_table_and_a_rejected_row_are_dead_lettered_with_a_reason_to_act_on()
 {
    let world = World::start().await;
    let id = world.account();
    world.send("{broken").await;
    world.send(&notification("invoice", id)).await;
    world.save(id, json!({"name": "REJECT me"}));
    world
        .until("three dead", |s| {
            s.bus.counts(OUTBOUND).unwrap().dead_letter == 3
        })
        .await;
    world.drained().await;
    let dead = world.dead(OUTBOUND);
    let find = |reason: &str| {
        let found = dead
            .iter()
            .find(|m| m.dead_letter_reason.as_deref() == Some(reason));
        found.unwrap_or_else(|| panic!("no {reason} in {dead:?}"))
    };
    for (reason, stage, sentence) in [
        ("InvalidNotification", "decode", "Repair the sender"),
        (
            "UnknownTable",
            "decode",
            "sync.json has no table \"invoice\"; it knows account, contact",
        ),
        (
            "RejectedByTarget",
            "deliver",
            "Correct the row in Dynamics 365",
        ),
    ] {
        let message = find(reason);
        let description = message.properties["DeadLetterErrorDescription"]
            .as_str()
            .unwrap();
        assert!(description.contains(sentence), "{description}");
        assert_eq!(message.properties["FailureStage"], stage);
        assert_eq!(message.properties["FailureCode"], reason);
    }
    assert_eq!(find("RejectedByTarget").properties["FailureStatus"], 422);
    // A permanent error costs one attempt, and the row says why.
    assert_eq!(world.stack.target.counters().calls, 1);
    assert_eq!(world.column(id, "dvs_ackstate"), 3);
    let error = world.column(id, "dvs_ackerror");
    assert!(
        error
            .as_str()
            .unwrap()
            .contains("RejectedByTarget at deliver"),
        "{error}"
    );
    assert!(!error.as_str().unwrap().contains("REJECT me"));
    // Saving a corrected row clears it.
    world.save(id, json!({"name": "Mended"}));
    world.drained().await;
    assert_eq!(
        (
            world.column(id, "dvs_ackstate"),
            world.column(id, "dvs_ackerror")
        ),
        (json!(1), Value::Null)
    );
}

#[tokio::test]
async fn while_the_target_is_down_copies_are_scheduled_and_afterwards_everything_arrives() {
    let world = World::start().await;
    world.stack.target.set_down(true);
    let id = world.account();
    world.save(id, json!({"name": "Patient"}));
    world
        .until("a second retry", |s| {
            let queue = s.bus.snapshot(OUTBOUND).unwrap();
            queue
                .scheduled
                .iter()
                .any(|m| m.properties.get("RetryCount") == Some(&json!(2)))
        })
        .await;
    world.stack.target.set_down(false);
    world.drained().await;
    assert_eq!(
        world
            .stack
            .target
            .row("customers", &id.to_string())
            .unwrap()
            .body["name"],
        "Patient"
    );
    assert!(world.dead(OUTBOUND).is_empty());
    let counters = world.stack.bus.counters(OUTBOUND).unwrap();
    assert!(counters.scheduled >= 2);
    assert_eq!(counters.abandoned, 0, "a retry never burns a delivery");
}

#[tokio::test]
async fn when_the_retries_are_used_up_the_message_is_dead_lettered_and_the_row_says_so() {
    let world = World::with_retries(2).await;
    world.stack.target.set_faults(Faults {
        rate_500: 1.0,
        ..Faults::default()
    });
    let id = world.account();
    world.save(id, json!({"name": "Unlucky"}));
    world
        .until("dead", |s| s.bus.counts(OUTBOUND).unwrap().dead_letter == 1)
        .await;
    world.drained().await;
    let dead = &world.dead(OUTBOUND)[0];
    assert_eq!(dead.dead_letter_reason.as_deref(), Some("RetriesExhausted"));
    assert_eq!(dead.properties["RetryCount"], 2);
    assert_eq!(dead.properties["FailureStatus"], 500);
    assert_eq!(world.stack.target.counters().calls, 3);
    assert_eq!(world.column(id, "dvs_ackstate"), 3);
}

#[tokio::test]
async fn when_the_acknowledgement_cannot_be_written_only_that_is_retried() {
    let world = World::start().await;
    let unavailable = ScriptedFault::Answer(ScriptedAnswer {
        status: 503,
        ..ScriptedAnswer::default()
    });
    // Reads and looks work; writes fail, be it one or a batch of them.
    for (method, url) in [("PATCH", "accounts("), ("POST", "$batch")] {
        let mut script = Script::once(unavailable.clone()).on(method, url);
        script.times = 2;
        world.stack.dataverse.script(script).unwrap();
    }
    let id = world.account();
    world.save(id, json!({"name": "Once"}));
    world
        .until("acknowledged", |s| s.dataverse.ack_writes().len() == 1)
        .await;
    world.drained().await;
    assert_eq!(world.column(id, "dvs_ackstate"), 1);
    assert_eq!(world.stack.target.counters().applied, 1);
    assert_eq!(world.stack.bus.counters(OUTBOUND).unwrap().scheduled, 0);
    assert!(world.stack.bus.counters(INBOUND).unwrap().scheduled >= 1);
}

#[tokio::test]
async fn what_the_plug_in_could_not_post_is_posted_by_the_sweep() {
    let world = World::start().await;
    let failing = DataverseFaults {
        rate_post_failure: 1.0,
        ..DataverseFaults::default()
    };
    world.stack.dataverse.set_faults(failing);
    let id = world.account();
    world.save(id, json!({"name": "Swept"}));
    world.stack.dataverse.posts_done().await;
    let outbox = world.stack.dataverse.outbox();
    assert_eq!(outbox[0]["statuscode"], 3, "the row keeps its status");
    assert!(outbox[0]["dvs_lasterror"].is_string(), "and the reason");
    world.stack.dataverse.set_faults(DataverseFaults::default());
    world
        .until("swept", |s| s.dataverse.outbox_len() == 0)
        .await;
    world.drained().await;
    assert_eq!(
        world
            .stack
            .target
            .row("customers", &id.to_string())
            .unwrap()
            .body["name"],
        "Swept"
    );
}

#[tokio::test]
async fn a_handler_killed_in_the_middle_of_its_work_loses_nothing() {
    let world = World::start().await;
    world.stack.target.set_faults(Faults {
        latency_ms: 300,
        ..Faults::default()
    });
    let ids = world.stack.dataverse.ids("account");
    for id in &ids {
        world.save(*id, json!({"name": format!("Killed {id}")}));
    }
    world
        .until("in flight", |s| s.outbound.invocations().in_flight() > 3)
        .await;
    world.stack.outbound.hosts()[0].kill_handler();
    world.drained().await;
    assert_eq!(world.stack.outbound.handler_restarts(), 1);
    for id in ids {
        let row = world
            .stack
            .target
            .row("customers", &id.to_string())
            .unwrap();
        assert_eq!(row.body["name"], format!("Killed {id}"));
        assert_eq!(world.column(id, "dvs_ackstate"), 1);
    }
}

#[tokio::test]
async fn neither_row_values_nor_secrets_reach_the_logs() {
    let world = World::start().await;
    let id = world.account();
    world.stack.target.set_faults(Faults {
        rate_500: 0.5,
        ..Faults::default()
    });
    world.save(
        id,
        json!({"name": "MARKER-NAME", "emailaddress1": "MARKER@example.com"}),
    );
    world.drained().await;
    world.save(id, json!({"name": "REJECT MARKER"}));
    world.drained().await;
    let log = world.log.lock().unwrap().join("\n");
    assert!(log.contains(&id.to_string()), "the log names the row");
    assert!(!log.contains("MARKER"), "{log}");
    assert!(!log.contains(world.stack.target.api_key()));
    assert!(!log.contains("eyJ"), "a token");
}

#[tokio::test]
async fn a_missing_setting_stops_the_app_at_start_and_is_named() {
    let binaries = tokio::task::spawn_blocking(apps::binaries)
        .await
        .unwrap()
        .unwrap();
    let output = tokio::process::Command::new(binaries.join("outbound-fn"))
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", "0")
        .env(
            "FUNCTIONS_APP_ROOT_PATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/.."),
        )
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("setting ServiceBus__fullyQualifiedNamespace is missing, e.g."),
        "{text}"
    );
    assert!(!output.status.success());
}
