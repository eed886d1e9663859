//! What time does to messages: locks, schedules, times to live.

use super::*;

#[test]
fn a_lock_that_expired_is_delivered_again() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.wait(59);
    assert_eq!(id(bench.receive()), None);
    bench.wait(1);
    let again = bench.receive().unwrap();
    assert_eq!(again.delivery_count, 1);
    assert_eq!(
        bench.settle(token, &Settlement::Complete),
        Err(SettleError::LockLost)
    );
    assert_eq!(
        bench.settle(again.lock.unwrap().token, &Settlement::Complete),
        Ok(())
    );
    assert_eq!(bench.queue.counters.lock_expiries, 1);
}

#[test]
fn a_lock_is_lost_at_its_end_even_if_nobody_looked_at_the_queue_since() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.now += time::Duration::seconds(60);
    assert_eq!(
        bench.settle(token, &Settlement::Complete),
        Err(SettleError::LockLost)
    );
}

#[test]
fn a_renewed_lock_lasts_a_whole_duration_from_then() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.wait(50);
    let until = bench.queue.renew(MAIN, token, bench.now).unwrap();
    assert_eq!(until, START + time::Duration::seconds(110));
    bench.wait(59);
    assert_eq!(bench.settle(token, &Settlement::Complete), Ok(()));
    assert_eq!(
        bench.queue.renew(MAIN, token, bench.now),
        Err(SettleError::LockLost)
    );
}

#[test]
fn expired_locks_lead_to_the_dead_letter_queue_too() {
    let mut bench = Bench::with(|config| config.max_delivery_count = 2);
    bench.send_named(&["a"]);
    for _ in 0..2 {
        bench.hold();
        bench.wait(60);
    }
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
    assert_eq!(bench.ids(DEAD), ["a"]);
}

#[test]
fn a_scheduled_message_comes_due_at_the_end_of_the_queue_under_a_new_number() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    bench.send(&Draft {
        scheduled_for: Some(due),
        ..Draft::named("later")
    });
    bench.send_named(&["now"]);
    assert_eq!(bench.queue.counts().scheduled, 1);
    assert_eq!(bench.queue.next_deadline(), Some(due));
    bench.wait(10);
    assert_eq!(id(bench.receive()).as_deref(), Some("now"));
    let later = bench.receive().unwrap();
    assert_eq!((later.sequence, later.enqueued_sequence), (3, 1));
    assert_eq!(later.enqueued_at, due);
    assert_eq!(later.state.number(), 0);
}

#[test]
fn a_schedule_in_the_past_means_now() {
    let mut bench = Bench::new();
    bench.send(&Draft {
        scheduled_for: Some(START),
        ..Draft::named("a")
    });
    assert_eq!(id(bench.receive()).as_deref(), Some("a"));
    assert_eq!(bench.queue.counters.scheduled, 0);
}

#[test]
fn messages_due_at_the_same_time_keep_their_order() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    for id in ["a", "b", "c"] {
        bench.send(&Draft {
            scheduled_for: Some(due),
            ..Draft::named(id)
        });
    }
    bench.wait(3_600);
    assert_eq!(bench.ids(MAIN), ["a", "b", "c"]);
}

#[test]
fn an_expired_message_is_dropped_unless_the_queue_dead_letters_it() {
    for dead_letter in [false, true] {
        let mut bench = Bench::with(|config| config.dead_letter_on_expiration = dead_letter);
        bench.send(&Draft {
            ttl_ms: Some(5_000),
            ..Draft::named("a")
        });
        bench.wait(5);
        assert_eq!(id(bench.receive()), None);
        let dead = bench.receive_from(DEAD);
        assert_eq!(dead.is_some(), dead_letter);
        if let Some(dead) = dead {
            let reason = property(&dead, "DeadLetterReason");
            assert_eq!(reason.as_deref(), Some("TTLExpiredException"));
        }
        assert_eq!(bench.queue.counters.ttl_expiries, 1);
    }
}

#[test]
fn the_queues_time_to_live_caps_the_messages_own() {
    let mut bench = Bench::with(|config| {
        config.default_ttl = Some(std::time::Duration::from_secs(10));
    });
    bench.send(&Draft {
        ttl_ms: Some(60_000),
        ..Draft::named("long")
    });
    bench.send(&Draft {
        ttl_ms: Some(5_000),
        ..Draft::named("short")
    });
    bench.send_named(&["none"]);
    bench.wait(5);
    assert_eq!(bench.ids(MAIN), ["long", "none"]);
    bench.wait(5);
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
}

#[test]
fn a_held_message_expires_only_when_it_is_given_back() {
    let mut bench = Bench::new();
    bench.send(&Draft {
        ttl_ms: Some(5_000),
        ..Draft::named("a")
    });
    let token = bench.hold();
    bench.wait(30);
    assert_eq!(bench.ids(MAIN), ["a"]);
    bench.abandon(token);
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
}

#[test]
fn dead_letters_never_expire() {
    let mut bench = Bench::new();
    bench.send(&Draft {
        ttl_ms: Some(5_000),
        ..Draft::named("a")
    });
    let token = bench.hold();
    bench.settle(token, &dead_letter("Invalid")).unwrap();
    bench.wait(1_000_000);
    assert_eq!(bench.ids(DEAD), ["a"]);
}

#[test]
fn a_scheduled_messages_time_to_live_starts_when_it_comes_due() {
    let mut bench = Bench::new();
    let due = START + time::Duration::seconds(10);
    let draft = Draft {
        ttl_ms: Some(5_000),
        scheduled_for: Some(due),
        ..Draft::named("a")
    };
    bench.send(&draft);
    bench.wait(14);
    assert_eq!(bench.queue.counts().active, 1);
    bench.wait(1);
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
}

#[test]
fn an_idle_queue_needs_no_timer() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    assert_eq!(bench.queue.next_deadline(), None);
    let token = bench.hold();
    assert_eq!(
        bench.queue.next_deadline(),
        Some(START + time::Duration::seconds(60))
    );
    bench.settle(token, &Settlement::Complete).unwrap();
    assert_eq!(bench.queue.next_deadline(), None);
}
