//! What happens to a message that is sent, and what a receiver gets of it.

use super::*;

#[test]
fn messages_leave_in_the_order_in_which_they_came() {
    let mut bench = Bench::new();
    bench.send_named(&["a", "b"]);
    assert_eq!(id(bench.receive()).as_deref(), Some("a"));
    assert_eq!(id(bench.receive()).as_deref(), Some("b"));
    assert_eq!(id(bench.receive()), None);
}

#[test]
fn the_sections_a_sender_wrote_reach_the_receiver_byte_for_byte() {
    let mut bench = Bench::new();
    let draft = Draft {
        properties: vec![("n", Value::Int(7)), ("t", Value::String("x".into()))],
        body: b"\x00\xff any bytes",
        ..Draft::named("a")
    };
    let sent = section::split(&draft.encode()).unwrap();
    bench.send(&draft);
    let received = delivered(&bench.receive().unwrap());
    assert_eq!(received.properties, sent.properties);
    assert_eq!(received.application_properties, sent.application_properties);
    assert_eq!(received.body, sent.body);
}

#[test]
fn every_header_field_is_written_even_when_the_sender_wrote_none() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let header = delivered(&bench.receive().unwrap()).header;
    let Value::List(fields) = values::section_value(&header).unwrap() else {
        panic!()
    };
    let expected = [
        Value::Bool(false),
        Value::Ubyte(4),
        Value::Null,
        Value::Bool(false),
        Value::Uint(0),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_locked_delivery_carries_numbers_times_and_state() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    bench.wait(5);
    let annotations = delivered(&bench.receive().unwrap()).message_annotations;
    let map = values::section_map(&annotations).unwrap();
    let expected = [
        ("x-opt-enqueued-time", values::timestamp(START)),
        ("x-opt-sequence-number", Value::Long(1)),
        ("x-opt-enqueue-sequence-number", Value::Long(1)),
        ("x-opt-message-state", Value::Int(0)),
        (
            "x-opt-locked-until",
            values::timestamp(START + time::Duration::seconds(65)),
        ),
    ];
    let expected: Map = expected
        .into_iter()
        .map(|(k, v)| (values::symbol(k), v))
        .collect();
    assert_eq!(map, expected);
}

#[test]
fn a_message_without_an_id_gets_one() {
    let mut bench = Bench::new();
    bench.send(&Draft {
        body: b"x",
        ..Draft::default()
    });
    let entry = bench.receive().unwrap();
    let made_up = Uuid::from_u128(0xfeed).simple().to_string();
    assert_eq!(*entry.message.id, *made_up);
    assert_eq!(entry.message.property_fields(), [Value::String(made_up)]);
}

#[test]
fn a_batch_is_as_many_messages_as_it_holds() {
    let mut batch = Vec::new();
    for id in ["a", "b"] {
        let inner = Value::Binary(Binary::from(Draft::named(id).encode().to_vec()));
        batch.extend(values::section(section::DATA, inner).unwrap());
    }
    let parse = |bytes: Vec<u8>| {
        let format = crate::bus::queue::message::BATCH_FORMAT;
        Message::parse_transfer(format, &Bytes::from(bytes), &mut Uuid::new_v4)
    };
    let messages = parse(batch.clone()).unwrap();
    let ids: Vec<&str> = messages.iter().map(|message| &*message.id).collect();
    assert_eq!(ids, ["a", "b"]);

    // One that is not a message spoils all.
    let inner = Value::Binary(Binary::from(b"no message".to_vec()));
    batch.extend(values::section(section::DATA, inner).unwrap());
    assert!(parse(batch).is_err());
}

#[test]
fn a_repeated_id_is_dropped_within_the_window_only() {
    let mut bench = Bench::with(|config| {
        config.duplicate_detection_window = Some(std::time::Duration::from_secs(20));
    });
    assert_eq!(bench.send(&Draft::named("a")), Some(1));
    assert_eq!(bench.send(&Draft::named("a")), None);
    assert_eq!(bench.send(&Draft::named("b")), Some(2));
    // The repetition above has not made the memory last longer.
    bench.wait(20);
    assert_eq!(bench.send(&Draft::named("a")), Some(3));
    assert_eq!(bench.queue.counters.duplicates_dropped, 1);
}

#[test]
fn a_completed_message_is_still_remembered_for_duplicate_detection() {
    let mut bench = Bench::with(|config| {
        config.duplicate_detection_window = Some(std::time::Duration::from_secs(20));
    });
    bench.send_named(&["a"]);
    let token = bench.hold();
    bench.settle(token, &Settlement::Complete).unwrap();
    assert_eq!(bench.send(&Draft::named("a")), None);
}

#[test]
fn a_scheduled_message_counts_for_duplicate_detection() {
    let mut bench = Bench::with(|config| {
        config.duplicate_detection_window = Some(std::time::Duration::from_secs(20));
    });
    let due = START + time::Duration::seconds(10);
    bench.send(&Draft {
        scheduled_for: Some(due),
        ..Draft::named("a")
    });
    assert_eq!(bench.send(&Draft::named("a")), None);
    // Coming due is not being sent again.
    bench.wait(10);
    assert_eq!(id(bench.receive()).as_deref(), Some("a"));
}

#[test]
fn receive_and_delete_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.send_named(&["a"]);
    let entry = bench.queue.take_next(MAIN, START).unwrap();
    assert_eq!(entry.lock, None);
    assert_eq!(bench.ids(MAIN), Vec::<String>::new());
    assert_eq!(bench.queue.counters.received_and_deleted, 1);
}
