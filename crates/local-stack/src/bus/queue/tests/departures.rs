//! Messages that leave by themselves.

use super::*;

fn forwarding() -> Bench {
    Bench::with(|config| config.forward_to = Some("next".to_owned()))
}

/// The ids of what has left since the last call.
fn departed(bench: &mut Bench) -> Vec<String> {
    let departures = bench.queue.take_departures();
    departures
        .into_iter()
        .map(|departure| departure.message.id.to_string())
        .collect()
}

#[test]
fn a_forwarding_queue_keeps_nothing_that_is_ready() {
    let mut bench = forwarding();
    bench.send_named(&["a", "b"]);
    bench.send(&Draft {
        scheduled_for: Some(START + time::Duration::seconds(60)),
        ..Draft::named("later")
    });
    assert_eq!(departed(&mut bench), ["a", "b"]);
    bench.wait(60);
    assert_eq!(departed(&mut bench), ["later"]);
    assert_eq!(bench.queue.counters.forwarded, 3);
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
}

#[test]
fn a_time_to_live_counts_where_the_message_stays() {
    let mut bench = Bench::with(|config| {
        config.forward_to = Some("next".to_owned());
        config.default_ttl = Some(std::time::Duration::from_secs(5));
    });
    bench.send(&Draft {
        ttl_ms: Some(0),
        ..Draft::named("short")
    });
    bench.send_named(&["default"]);
    let departures = bench.queue.take_departures();
    let ttls: Vec<_> = departures
        .iter()
        .map(|departure| departure.message.ttl.unwrap().as_secs())
        .collect();
    assert_eq!(ttls, [0, 5]);
}

#[test]
fn a_message_keeps_the_number_it_was_first_given() {
    let mut first = forwarding();
    first.send_named(&["a", "b", "c"]);
    let mut second = Bench::new();
    for departure in first.queue.take_departures().into_iter().skip(2) {
        second.queue.enqueue(departure.message, START);
    }
    let entry = second.receive().unwrap();
    assert_eq!((entry.sequence, entry.enqueued_sequence), (1, 3));
}

#[test]
fn a_message_forwarded_four_times_is_dead_lettered_instead_of_a_fifth_time() {
    let mut bench = forwarding();
    bench.send_named(&["a"]);
    for _ in 0..4 {
        let mut departures = bench.queue.take_departures();
        let message = departures.remove(0).message;
        bench.queue.enqueue(message, START);
    }
    assert_eq!(departed(&mut bench), Vec::<String>::new());
    let entry = bench.receive_from(DEAD).unwrap();
    let reason = property(&entry, "DeadLetterReason").unwrap();
    assert_eq!(reason, "MaxTransferHopCountExceeded");
}

#[test]
fn a_topics_copies_are_not_counted_as_hops() {
    let config = QueueConfig::named("topic");
    let mut queue = Queue::of_topic(config);
    let mut message = Draft::named("a").message();
    for _ in 0..10 {
        queue.enqueue(message, START);
        message = queue.take_departures().remove(0).message;
    }
}

#[test]
fn a_dead_letter_is_forwarded_with_its_source_and_keeps_its_reason() {
    let mut bench = Bench::with(|config| config.forward_dead_letters_to = Some("dead".to_owned()));
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.settle(token, &dead_letter("Invalid")).unwrap();
    let departure = bench.queue.take_departures().remove(0);
    assert_eq!(departure.from, DEAD);
    let mut second = Bench::new();
    second.queue.enqueue(departure.message, START);
    let entry = second.receive().unwrap();
    let reason = property(&entry, "DeadLetterReason").unwrap();
    assert_eq!(reason, "Invalid");
    let annotations = values::section_map(&delivered(&entry).message_annotations).unwrap();
    let source = values::get(&annotations, "x-opt-deadletter-source");
    assert_eq!(source.and_then(values::text), Some("q"));
}

#[test]
fn dead_letters_that_two_queues_forward_to_each_other_come_to_rest() {
    let mut bench = Bench::with(|config| {
        config.forward_to = Some("other".to_owned());
        config.forward_dead_letters_to = Some("other".to_owned());
    });
    bench.send_named(&["a"]);
    let mut rounds = 0;
    while let Some(departure) = bench.queue.take_departures().pop() {
        bench.queue.enqueue(departure.message, START);
        rounds += 1;
    }
    assert_eq!(rounds, 4);
    assert_eq!(bench.ids(DEAD), ["a"]);
}
