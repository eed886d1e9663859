//! Peeking, cancelling, counting.

use super::*;

#[test]
fn a_peek_shows_everything_and_locks_nothing() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    bench.send_named(&["held", "deferred"]);
    bench.hold();
    let token = bench.hold();
    bench.settle(token, &defer()).unwrap();
    bench.send(&Draft {
        scheduled_for: Some(due),
        ..Draft::named("later")
    });
    bench.send_named(&["ready"]);

    let peeked = bench.queue.peek(MAIN, None, 0, 10, START);
    let shown: Vec<(&str, i32)> = peeked
        .iter()
        .map(|entry| (&*entry.message.id, entry.state.number()))
        .collect();
    assert_eq!(
        shown,
        [("held", 0), ("deferred", 1), ("later", 2), ("ready", 0)]
    );
    assert!(peeked.iter().all(|entry| entry.lock.is_none()));

    let from_third: Vec<i64> = bench
        .queue
        .peek(MAIN, None, 3, 1, START)
        .iter()
        .map(|entry| entry.sequence)
        .collect();
    assert_eq!(from_third, [3]);
    assert_eq!(id(bench.receive()).as_deref(), Some("ready"));
}

#[test]
fn schedules_are_cancelled_all_or_none() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    bench.send(&Draft {
        scheduled_for: Some(due),
        ..Draft::named("later")
    });
    bench.send_named(&["now"]);
    assert_eq!(
        bench.queue.cancel_scheduled(&[1, 2], START).unwrap_err().0,
        2
    );
    assert_eq!(bench.queue.counts().scheduled, 1);
    assert_eq!(bench.queue.cancel_scheduled(&[1], START), Ok(()));
    bench.wait(20);
    assert_eq!(bench.ids(MAIN), ["now"]);
}

#[test]
fn a_schedule_that_came_due_cannot_be_cancelled() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    bench.send(&Draft {
        scheduled_for: Some(due),
        ..Draft::named("later")
    });
    bench.now = due;
    assert!(bench.queue.cancel_scheduled(&[1], due).is_err());
    assert_eq!(bench.queue.counts().active, 1);
}

#[test]
fn counts_follow_every_message_wherever_it_goes() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    bench.send_named(&["a", "b", "c", "d"]);
    bench.send(&Draft {
        scheduled_for: Some(due),
        ..Draft::named("e")
    });
    bench.hold();
    let token = bench.hold();
    bench.settle(token, &defer()).unwrap();
    let token = bench.hold();
    bench.settle(token, &dead_letter("Invalid")).unwrap();
    let counts = bench.queue.counts();
    assert_eq!(
        (
            counts.active,
            counts.locked,
            counts.scheduled,
            counts.deferred,
            counts.dead_letter
        ),
        (1, 1, 1, 1, 1),
    );
    // A deferred message that is held counts as held.
    let now = bench.now;
    bench
        .queue
        .lock_deferred(MAIN, None, &[2], &mut || Uuid::from_u128(77), now)
        .unwrap();
    assert_eq!(
        (bench.queue.counts().locked, bench.queue.counts().deferred),
        (2, 0)
    );
}
