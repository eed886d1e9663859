//! A session per row on the outbound queue.

use local_stack::dataverse::DataverseFaults;
use local_stack::stack::{OUTBOUND, REJECTED};
use local_stack::target::Faults;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn with_sessions_a_rejected_row_costs_one_attempt_and_its_message_says_why_in_a_queue_of_its_own()
 {
    let world = World::with_sessions().await;
    let id = world.account();
    world.save(id, json!({"name": "REJECT me"}));
    let rejected = || world.stack.bus.snapshot(REJECTED).unwrap().active;
    world
        .until("it is rejected", |s| {
            s.bus.counts(REJECTED).unwrap().active == 1
        })
        .await;
    world.drained().await;
    let message = &rejected()[0];
    assert_eq!(message.session_id, Some(format!("account:{id}")));
    assert_eq!(message.properties["DeadLetterReason"], "RejectedByTarget");
    let description = message.properties["DeadLetterErrorDescription"].as_str();
    assert!(
        description
            .unwrap()
            .contains("Correct the row in Dynamics 365")
    );
    assert_eq!(message.properties["FailureStage"], "deliver");
    assert_eq!(message.properties["FailureStatus"], 422);
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
    // Nothing was settled behind the session's back, and nothing is left of it.
    assert!(world.dead(OUTBOUND).is_empty());
    world.save(id, json!({"name": "Mended"}));
    world.drained().await;
    assert_eq!(world.stack.target.rows()[0].body["name"], "Mended");
    assert_eq!(rejected().len(), 1);
    world.stack.shutdown().await;
}

#[tokio::test]
async fn with_sessions_a_retry_copy_and_a_swept_notification_stay_in_the_session_of_their_row() {
    let world = World::with_sessions().await;
    let id = world.account();
    world.stack.target.set_faults(Faults {
        rate_500: 1.0,
        ..Faults::default()
    });
    world.stack.dataverse.set_faults(DataverseFaults {
        rate_post_failure: 1.0,
        ..DataverseFaults::default()
    });
    world.save(id, json!({"telephone1": "555-0001"}));
    world
        .until("it is rescheduled", |s| {
            s.bus.counters(OUTBOUND).unwrap().scheduled > 0
        })
        .await;
    world.stack.target.set_faults(Faults::default());
    world.drained().await;
    assert_eq!(
        world.stack.target.rows()[0].body["phone"],
        world.column(id, "telephone1")
    );
    world.stack.shutdown().await;
}
