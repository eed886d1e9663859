//! What receivers do with messages they hold.

use super::*;

#[test]
fn a_completed_message_is_gone_and_its_token_with_it() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    assert_eq!(bench.settle(token, &Settlement::Complete), Ok(()));
    assert_eq!(
        bench.settle(token, &Settlement::Complete),
        Err(SettleError::LockLost)
    );
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
}

#[test]
fn an_abandoned_message_comes_back_first_and_counts_the_failure() {
    let mut bench = Bench::new();
    bench.send_named(&["a", "b"]);
    let token = bench.hold();
    let properties = vec![("why".to_owned(), Value::String("busy".into()))];
    bench
        .settle(token, &Settlement::Abandon { properties })
        .unwrap();
    let again = bench.receive().unwrap();
    assert_eq!(*again.message.id, *"a");
    assert_eq!(again.delivery_count, 1);
    assert_eq!(property(&again, "why").as_deref(), Some("busy"));
}

#[test]
fn a_message_that_failed_too_often_is_dead_lettered_with_that_reason() {
    let mut bench = Bench::with(|config| config.max_delivery_count = 3);
    bench.send_named(&["a"]);
    for delivery_count in 0..3 {
        let entry = bench.receive().unwrap();
        assert_eq!(entry.delivery_count, delivery_count);
        bench.abandon(entry.lock.unwrap().token);
    }
    assert_eq!(id(bench.receive()), None);
    let dead = bench.receive_from(DEAD).unwrap();
    assert_eq!(
        property(&dead, "DeadLetterReason").as_deref(),
        Some("MaxDeliveryCountExceeded")
    );
    assert_eq!(
        property(&dead, "DeadLetterErrorDescription").as_deref(),
        Some("Message could not be consumed after 3 delivery attempts."),
    );
}

#[test]
fn a_dead_lettered_message_keeps_its_properties_and_gets_the_reason() {
    let mut bench = Bench::new();
    bench.send(&Draft {
        properties: vec![("n", Value::Int(7))],
        ..Draft::named("a")
    });
    let token = bench.hold();
    bench.settle(token, &dead_letter("Invalid")).unwrap();
    assert_eq!(id(bench.receive()), None);
    let dead = bench.receive_from(DEAD).unwrap();
    assert_eq!(property(&dead, "n").as_deref(), Some("7"));
    assert_eq!(
        property(&dead, "DeadLetterReason").as_deref(),
        Some("Invalid")
    );
    assert_eq!(
        property(&dead, "DeadLetterErrorDescription").as_deref(),
        Some("because")
    );
    assert_eq!(bench.queue.counters.dead_lettered, 1);
}

#[test]
fn nothing_is_dead_lettered_out_of_the_dead_letter_queue() {
    let mut bench = Bench::with(|config| config.max_delivery_count = 1);
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.abandon(token);
    for _ in 0..5 {
        let token = bench.receive_from(DEAD).unwrap().lock.unwrap().token;
        let refused = bench.settle_in(DEAD, token, &dead_letter("Again"));
        assert_eq!(refused, Err(SettleError::AlreadyDead));
        bench.settle_in(DEAD, token, &abandon()).unwrap();
    }
    assert_eq!(bench.ids(DEAD), ["a"]);
}

#[test]
fn a_deferred_message_is_only_received_by_its_number() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.settle(token, &defer()).unwrap();
    assert_eq!(id(bench.receive()), None);

    let now = bench.now;
    let mut token = || Uuid::from_u128(77);
    let deferred = bench
        .queue
        .lock_deferred(MAIN, None, &[1], &mut token, now)
        .unwrap();
    assert_eq!(deferred[0].state.number(), 1);
    assert_eq!(deferred[0].delivery_count, 0);
    // While somebody holds it, nobody else gets it.
    assert!(
        bench
            .queue
            .lock_deferred(MAIN, None, &[1], &mut token, now)
            .is_err()
    );
    bench
        .settle(Uuid::from_u128(77), &Settlement::Complete)
        .unwrap();
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
}

#[test]
fn an_abandoned_deferred_message_stays_deferred() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.settle(token, &defer()).unwrap();
    let now = bench.now;
    bench
        .queue
        .lock_deferred(MAIN, None, &[1], &mut || Uuid::from_u128(77), now)
        .unwrap();
    bench.abandon(Uuid::from_u128(77));
    assert_eq!(id(bench.receive()), None);
    assert_eq!(bench.queue.counts().deferred, 1);
}

#[test]
fn deferred_messages_are_received_all_or_none() {
    let mut bench = Bench::new();
    bench.send_named(&["a", "b"]);
    let token = bench.hold();
    bench.settle(token, &defer()).unwrap();
    let now = bench.now;
    assert_eq!(
        bench
            .queue
            .take_deferred(MAIN, None, &[1, 2], now)
            .unwrap_err()
            .0,
        2
    );
    assert_eq!(
        bench
            .queue
            .take_deferred(MAIN, None, &[1], now)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_token_is_good_in_its_own_sub_queue_only() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    assert_eq!(
        bench.settle_in(DEAD, token, &abandon()),
        Err(SettleError::LockLost)
    );
    assert_eq!(bench.settle(token, &Settlement::Complete), Ok(()));
}
