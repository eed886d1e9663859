//! The inbound pass and the outbox sweep.

use std::time::Duration;

use crate::rows::{OutboxTable, Rows, acknowledgement};
use serde_json::{Value, json};
use sync_core::decide::Disposition;
use sync_core::failure::{Failure, Stage};

async fn handle(rows: &Rows, version: i64, outcome: &str) -> Disposition {
    rows.inbound()
        .handle(acknowledgement(version, outcome))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_writes_the_integrations_own_columns_and_nothing_else() {
    let rows = Rows::new();
    assert_eq!(handle(&rows, 5, "delivered").await, Disposition::Complete);
    let row = rows.lock();
    assert!(
        row.columns.keys().all(|name| name.starts_with("dvs_")),
        "{:?}",
        row.columns
    );
    assert_eq!(row.columns["dvs_targetid"], "C-1");
    assert_eq!(
        (&row.columns["dvs_ackstate"], &row.columns["dvs_ackversion"]),
        (&json!(1), &json!("5"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_older_acknowledgement_never_overwrites_a_newer_one() {
    let rows = Rows::new();
    handle(&rows, 9, "delivered").await;
    for outcome in ["delivered", "rejected", "deleted"] {
        assert_eq!(handle(&rows, 5, outcome).await, Disposition::Complete);
    }
    assert_eq!(rows.lock().columns["dvs_ackversion"], "9");
    assert_eq!(rows.lock().columns["dvs_ackstate"], 1);
    assert_eq!(rows.lock().writes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_gone_is_not_recreated() {
    let rows = Rows::new();
    rows.lock().gone = true;
    assert_eq!(handle(&rows, 5, "deleted").await, Disposition::Complete);
    assert_eq!(rows.lock().writes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_says_why_and_leaves_the_version_of_what_the_target_holds() {
    let rows = Rows::new();
    handle(&rows, 5, "delivered").await;
    handle(&rows, 6, "rejected").await;
    let row = rows.lock();
    assert_eq!(row.columns["dvs_ackstate"], 3);
    assert_eq!(
        row.columns["dvs_ackerror"],
        "Mend it. [RejectedByTarget at deliver]"
    );
    assert_eq!(
        row.columns["dvs_ackversion"], "5",
        "a resent notification must not look superseded"
    );
}

#[tokio::test(start_paused = true)]
async fn an_older_delivery_that_is_acknowledged_late_does_not_hide_a_newer_rejection() {
    let rows = Rows::new();
    handle(&rows, 4, "delivered").await;
    handle(&rows, 7, "rejected").await;
    handle(&rows, 6, "delivered").await;
    handle(&rows, 5, "rejected").await;
    let row = rows.lock();
    assert_eq!(row.columns["dvs_ackstate"], 3);
    assert!(row.columns["dvs_ackerror"].is_string());
    assert_eq!(row.columns["dvs_ackversion"], "6", "what the target holds");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_after_a_rejection_clears_the_reason() {
    let rows = Rows::new();
    handle(&rows, 5, "rejected").await;
    handle(&rows, 6, "delivered").await;
    assert_eq!(rows.lock().columns["dvs_ackerror"], Value::Null);
    assert_eq!(rows.lock().columns["dvs_ackstate"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_saved_between_read_and_write_is_read_again() {
    let rows = Rows::new();
    rows.lock().conflicts = 3;
    assert_eq!(handle(&rows, 5, "delivered").await, Disposition::Complete);
    assert_eq!(rows.lock().writes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_never_stops_changing_is_left_to_a_later_attempt() {
    let rows = Rows::new();
    rows.lock().conflicts = 1000;
    let got = handle(&rows, 5, "delivered").await;
    assert!(matches!(got, Disposition::Reschedule { counts: true, .. }));
    assert_eq!(rows.lock().copies.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_is_obeyed_and_not_counted() {
    let rows = Rows::new();
    let wait = Duration::from_secs(37);
    let throttle = Failure::throttled(Stage::Acknowledge, "DataverseRequestLimit", wait, "m");
    rows.lock().failures.push(throttle);
    let got = handle(&rows, 5, "delivered").await;
    assert!(matches!(got, Disposition::Reschedule { counts: false, delay } if delay >= wait));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_acknowledgement_is_dead_lettered() {
    let rows = Rows::new();
    let mut message = acknowledgement(5, "delivered");
    message.body = "{}".into();
    rows.inbound().handle(message).await.unwrap();
    assert_eq!(rows.lock().dead, ["InvalidAcknowledgement"]);
}

#[tokio::test(start_paused = true)]
async fn while_the_queue_is_down_the_outbox_row_keeps_the_reason_and_comes_back() {
    let outbox = OutboxTable::new();
    outbox.lock().queue_down = true;
    let swept = outbox.sweeper().sweep().await.unwrap();
    assert_eq!((swept.sent, swept.kept), (0, 1));
    let state = outbox.lock();
    let (reason, comes_back) = &state.kept[0];
    assert!(reason.contains("outbound") && *comes_back, "{reason}");
    assert!(state.present);
}

#[tokio::test(start_paused = true)]
async fn an_outbox_row_that_no_sweep_can_send_is_marked_for_a_person() {
    let outbox = OutboxTable::new();
    outbox.lock().payload = "{broken".into();
    let swept = outbox.sweeper().sweep().await.unwrap();
    assert_eq!((swept.unusable, swept.sent), (1, 0));
    assert!(!outbox.lock().kept[0].1, "it does not come back by itself");
}
