//! One test for each place where a process can die between two effects. The message comes back with a
//! higher delivery count; what was done is done again, and nothing is missing.

use crate::rows;
use crate::world::{World, busy, message};
use sync_core::decide::Disposition;
use sync_core::message::{Message, RETRY_COUNT};

#[tokio::test(start_paused = true)]
async fn dying_between_the_delivery_and_its_acknowledgement_delivers_again_and_acknowledges() {
    let world = World::new("Jo", 5);
    world.dies("deliver", message("n1", 5)).await;
    assert!(world.lock().acknowledgements.is_empty());
    assert_eq!(
        world.comes_back(message("n1", 5)).await,
        Disposition::Complete
    );
    let s = world.lock();
    assert_eq!(s.log, ["deliver", "copy", "deliver", "acknowledge"]);
    assert_eq!(
        s.versions,
        [Some(5), Some(5)],
        "read again, and still the latest"
    );
}

#[tokio::test(start_paused = true)]
async fn dying_between_a_stale_delivery_and_its_look_still_repairs_it() {
    // The row moved on during the delivery, and another instance acknowledged the newer version.
    let world = World::new("old", 5);
    world
        .lock()
        .saved_during_delivery
        .push_back(Some("new".into()));
    world.dies("deliver", message("n1", 5)).await;
    world.lock().acknowledged = Some(6);
    // Version 5 is acknowledged by 6, and yet this redelivery must not be taken for superseded.
    world.comes_back(message("n1", 5)).await;
    assert_eq!(world.lock().target.last().unwrap().as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn dying_between_the_acknowledgement_and_the_answer_acknowledges_twice() {
    let world = World::new("Jo", 5);
    world.dies("acknowledge", message("n1", 5)).await;
    world.comes_back(message("n1", 5)).await;
    let s = world.lock();
    assert_eq!(
        s.log,
        ["deliver", "acknowledge", "copy", "deliver", "acknowledge"]
    );
    assert_eq!(
        s.acknowledgements[0].source_version,
        s.acknowledgements[1].source_version
    );
}

#[tokio::test(start_paused = true)]
async fn dying_between_the_scheduled_copy_and_the_answer_leaves_a_duplicate_never_a_hole() {
    let world = World::new("Jo", 5);
    world.lock().refusals.extend([busy(), busy(), busy()]);
    world.dies("copy", message("n1", 5)).await;
    let copies: Vec<_> = world.lock().outbound_sent.clone();
    assert_eq!(copies[0].properties[RETRY_COUNT], 1.into());
    // The original comes back: the copy made of it then has an id of its own, so that duplicate
    // detection cannot drop it in favour of the first.
    world.comes_back(message("n1", 5)).await;
    let s = world.lock();
    assert_eq!(s.outbound_sent.len(), 2);
    assert_ne!(s.outbound_sent[0].message_id, s.outbound_sent[1].message_id);
    assert_eq!(s.outbound_sent[0].body, s.outbound_sent[1].body);
}

#[tokio::test(start_paused = true)]
async fn dying_between_the_negative_acknowledgement_and_the_dead_letter_repeats_both() {
    let world = World::new("Jo", 5);
    world.lock().refusals.extend([crate::world::refused()]);
    world.dies("acknowledge", message("n1", 5)).await;
    assert!(world.lock().dead.is_empty());
    world.lock().refusals.extend([crate::world::refused()]);
    world.comes_back(message("n1", 5)).await;
    assert_eq!(
        world.lock().log,
        ["acknowledge", "copy", "acknowledge", "dead-letter"]
    );
}

#[tokio::test(start_paused = true)]
async fn dying_between_the_acknowledgement_write_and_the_answer_writes_the_same_again() {
    let rows = rows::Rows::new();
    let inbound = rows.inbound();
    rows.lock().dies_after_write = true;
    let handling = inbound.handle(rows::acknowledgement(5, "delivered"));
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(5), handling)
            .await
            .is_err()
    );
    rows.lock().dies_after_write = false;
    let once = rows.lock().columns.clone();
    let again = Message {
        delivery_count: 2,
        ..rows::acknowledgement(5, "delivered")
    };
    assert_eq!(
        rows.inbound().handle(again).await.unwrap(),
        Disposition::Complete
    );
    assert_eq!(rows.lock().columns, once);
}

#[tokio::test(start_paused = true)]
async fn dying_between_the_outbox_send_and_its_delete_sends_again_under_the_same_message_id() {
    let outbox = rows::OutboxTable::new();
    outbox.lock().dies_after_send = true;
    let sweeper = outbox.sweeper();
    let sweep = sweeper.sweep();
    assert!(
        tokio::time::timeout(std::time::Duration::from_secs(5), sweep)
            .await
            .is_err()
    );
    outbox.lock().dies_after_send = false;
    assert!(
        outbox.lock().present,
        "the row stays until its send is known to have worked"
    );
    // Its lease has to end first: nobody else works on it meanwhile.
    assert_eq!(outbox.sweeper().sweep().await.unwrap().sent, 0);
    outbox.lock().due = true;
    assert_eq!(outbox.sweeper().sweep().await.unwrap().sent, 1);
    let state = outbox.lock();
    assert!(!state.present);
    assert_eq!(
        state.sent,
        ["n-1", "n-1"],
        "which duplicate detection folds"
    );
}
