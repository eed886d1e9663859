//! How much a queue may hold, and locks lost on demand.

use super::*;
use crate::bus::queue::QueueFull;

#[test]
fn a_queue_is_full_once_it_has_reached_its_size_and_until_something_leaves_it() {
    let size = Draft::named("a").message().size();
    let mut bench = Bench::with(|config| config.max_size = Some(2 * size));
    assert_eq!(bench.queue.check_room(0), Ok(()));
    bench.send_named(&["a", "b"]);
    let full = QueueFull {
        size: 2 * size,
        limit: 2 * size,
    };
    assert_eq!(bench.queue.check_room(0), Err(full));
    let token = bench.hold();
    assert_eq!(bench.queue.check_room(0), Err(full));
    bench.settle(token, &Settlement::Complete).unwrap();
    assert_eq!(bench.queue.check_room(0), Ok(()));
}

#[test]
fn dead_letters_count_towards_the_size() {
    let mut bench = Bench::with(|config| config.max_size = Some(1));
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.settle(token, &dead_letter("Bad")).unwrap();
    assert!(bench.queue.check_room(0).is_err());
    bench.wait(3_600);
    assert!(bench.queue.check_room(0).is_err());
}

#[test]
fn a_lock_lost_on_demand_is_one_that_ran_out() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let token = bench.hold();
    assert!(bench.queue.lose_lock(MAIN, token, bench.now));
    assert!(!bench.queue.lose_lock(MAIN, token, bench.now));
    assert_eq!(
        bench.settle(token, &Settlement::Complete),
        Err(SettleError::LockLost)
    );
    let again = bench.receive().unwrap();
    assert_eq!(again.delivery_count, 1);
    assert_eq!(bench.queue.counters.lock_expiries, 1);
    assert_eq!(bench.queue.lose_locks(bench.now), 1);
}

#[test]
fn a_message_lives_for_its_time_to_live_and_not_a_millisecond_longer() {
    let mut bench = Bench::new();
    bench.send(&Draft {
        ttl_ms: Some(1_000),
        ..Draft::named("a")
    });
    bench.now += time::Duration::milliseconds(999);
    bench.queue.advance(bench.now);
    assert_eq!(bench.ids(MAIN), ["a"]);
    bench.now += time::Duration::milliseconds(1);
    bench.queue.advance(bench.now);
    assert!(bench.ids(MAIN).is_empty());
}
