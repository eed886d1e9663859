//! Who is woken for what.

use super::*;

#[test]
fn each_message_wakes_one_receiver_the_longest_waiting_first() {
    let mut bench = Bench::new();
    for consumer in [1, 2, 3] {
        bench.queue.wait(MAIN, consumer);
    }
    bench.queue.wait(MAIN, 1);
    bench.send_named(&["a"]);
    assert_eq!(bench.queue.take_woken(), [1]);
    // The first message has its receiver, whether it has come for it yet or not.
    bench.send_named(&["b"]);
    assert_eq!(bench.queue.take_woken(), [2]);
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
}

#[test]
fn a_receiver_that_leaves_passes_its_wake_on() {
    let mut bench = Bench::new();
    bench.queue.wait(MAIN, 1);
    bench.queue.wait(MAIN, 2);
    bench.send_named(&["a"]);
    assert_eq!(bench.queue.take_woken(), [1]);
    bench.queue.leave(MAIN, 1);
    assert_eq!(bench.queue.take_woken(), [2]);
    bench.queue.leave(MAIN, 2);
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
}

#[test]
fn time_wakes_receivers_too() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    bench.hold();
    bench.queue.take_woken();
    bench.queue.wait(MAIN, 1);
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
    bench.wait(60);
    assert_eq!(bench.queue.take_woken(), [1]);
}

#[test]
fn a_message_taken_by_another_wakes_nobody() {
    let mut bench = Bench::new();
    bench.queue.wait(MAIN, 1);
    bench.send_named(&["a"]);
    bench.hold();
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
}

#[test]
fn the_dead_letter_queue_has_its_own_line() {
    let mut bench = Bench::with(|config| config.max_delivery_count = 1);
    bench.queue.wait(DEAD, 1);
    bench.send_named(&["a"]);
    let token = bench.hold();
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
    bench.abandon(token);
    assert_eq!(bench.queue.take_woken(), [1]);
}
