//! Messages over frames and windows.

use fe2o3_amqp_types::messaging::Accepted;

use super::*;
use crate::bus::queue::SubQueue;
use crate::bus::queue::message::BATCH_FORMAT;

const ACCEPTED: DeliveryState = DeliveryState::Accepted(Accepted {});

/// The messages in the transfers that have come, put together from their frames.
fn joined(peer: &mut Peer) -> Vec<Bytes> {
    let mut messages = Vec::new();
    let mut partial = Vec::new();
    for (performative, payload) in peer.received_with() {
        let Performative::Transfer(transfer) = performative else {
            panic!("{performative:?}")
        };
        partial.extend_from_slice(&payload);
        if !transfer.more {
            messages.push(Bytes::from(std::mem::take(&mut partial)));
        }
    }
    assert!(partial.is_empty());
    messages
}

fn body(message: &Bytes) -> Bytes {
    section::data(&section::split(message).unwrap().body).unwrap()
}

#[test]
fn a_message_in_many_frames_is_one_message_both_ways() {
    let mut peer = Stage::new().peer_with(512, 2_048);
    peer.attach_sender(0, "q");
    let content: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let mut rest = message_with_body("a", &content);
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(3_000));
        let frame = Transfer {
            more: !rest.is_empty(),
            ..transfer(0)
        };
        peer.send_with(Performative::Transfer(frame), part);
    }
    assert_eq!(peer.verdict(0), ACCEPTED);

    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 1);
    let received = joined(&mut peer);
    assert_eq!(received.len(), 1);
    assert_eq!(body(&received[0]), content);
}

#[test]
fn an_aborted_delivery_never_was() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    let first = Transfer {
        more: true,
        ..transfer(0)
    };
    peer.send_with(Performative::Transfer(first), message("a").slice(..5));
    let aborted = Transfer {
        aborted: true,
        ..transfer(0)
    };
    peer.send(Performative::Transfer(aborted));
    assert_eq!(peer.received(), []);
    assert_eq!(peer.send_message(1, "b"), ACCEPTED);
}

#[test]
fn a_presettled_message_is_taken_without_an_answer() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    let settled = Transfer {
        settled: Some(true),
        ..transfer(0)
    };
    peer.send_with(Performative::Transfer(settled), message("a"));
    assert_eq!(peer.received(), []);
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 1);
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn too_large_a_message_is_rejected_and_the_link_goes_on() {
    let mut peer = Stage::with(|config| config.max_message_size = 1_000).peer();
    peer.attach_sender(0, "q");
    let large = message_with_body("a", &[0; 1_000]);
    let (one, two) = (large.slice(..900), large.slice(900..));
    peer.send_with(
        Performative::Transfer(Transfer {
            more: true,
            ..transfer(0)
        }),
        one,
    );
    peer.send_with(Performative::Transfer(transfer(0)), two);
    let verdict = peer.verdict(0);
    assert_eq!(rejection(&verdict), "amqp:link:message-size-exceeded");
    assert_eq!(peer.send_message(1, "b"), ACCEPTED);
}

#[test]
fn a_message_that_is_none_is_rejected_and_the_link_goes_on() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    peer.send_with(
        Performative::Transfer(transfer(0)),
        Bytes::from_static(b"no message"),
    );
    assert_eq!(rejection(&peer.verdict(0)), "amqp:decode-error");
    assert_eq!(peer.send_message(1, "b"), ACCEPTED);
}

#[test]
fn a_batch_with_one_bad_message_adds_none() {
    let stage = Stage::new();
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    let batch = |inner: &[Bytes]| {
        let mut bytes = Vec::new();
        for message in inner {
            let data = Value::Binary(Binary::from(message.to_vec()));
            bytes.extend(values::section(section::DATA, data).unwrap());
        }
        Bytes::from(bytes)
    };
    let format = |delivery_id| Transfer {
        message_format: Some(BATCH_FORMAT),
        ..transfer(delivery_id)
    };
    let bad = [message("a"), Bytes::from_static(b"no message")];
    peer.send_with(Performative::Transfer(format(0)), batch(&bad));
    assert_eq!(rejection(&peer.verdict(0)), "amqp:decode-error");
    let good = [message("b"), message("c")];
    peer.send_with(Performative::Transfer(format(1)), batch(&good));
    assert_eq!(peer.verdict(1), ACCEPTED);
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!(counts.active, 2);
}

#[test]
fn a_full_queue_takes_no_message_no_batch_and_no_schedule_until_one_has_left() {
    let stage = Stage::with(|config| config.queues[0].max_size = Some(1));
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    let mut batch = Vec::new();
    for inner in [message("a"), message("b")] {
        let data = Value::Binary(Binary::from(inner.to_vec()));
        batch.extend(values::section(section::DATA, data).unwrap());
    }
    let batch = Bytes::from(batch);
    let transfer_of_batch = |delivery_id| Transfer {
        message_format: Some(BATCH_FORMAT),
        ..transfer(delivery_id)
    };
    // What crosses the limit is still taken, and as a whole.
    peer.send_with(Performative::Transfer(transfer_of_batch(0)), batch.clone());
    assert_eq!(peer.verdict(0), ACCEPTED);
    peer.send_with(Performative::Transfer(transfer_of_batch(1)), batch);
    assert_eq!(rejection(&peer.verdict(1)), "amqp:resource-limit-exceeded");
    let verdict = peer.send_message(2, "c");
    let DeliveryState::Rejected(rejected) = &verdict else {
        panic!()
    };
    let text = rejected
        .error
        .as_ref()
        .unwrap()
        .description
        .clone()
        .unwrap();
    assert!(
        text.starts_with("The maximum entity size has been reached or exceeded for Queue: 'q'.")
    );

    let mut requester = super::management::requester(&stage, "q/$management");
    let due = *stage.now.lock().unwrap() + time::Duration::minutes(1);
    let messages = Value::List(vec![super::management::scheduled("s", due)]);
    let scheduled = [("messages", messages)];
    let answer = super::management::operate(&mut requester, 0, "schedule-message", scheduled);
    assert_eq!(answer.status(), 403);
    let entity = stage.hub.entity("q").unwrap();
    entity.with(|queue, now| {
        assert_eq!(queue.counts().active, 2);
        while queue.take_next(SubQueue::Main, now).is_some() {}
    });
    assert_eq!(peer.send_message(3, "c"), ACCEPTED);
}

#[test]
fn deliveries_wait_for_the_sessions_window() {
    let mut peer = Stage::new().peer_with(MAX_FRAME_SIZE, 2);
    peer.attach_sender(0, "q");
    for (delivery_id, id) in [(0, "a"), (1, "b"), (2, "c")] {
        peer.send_message(delivery_id, id);
    }
    peer.attach_receiver(1, "q");
    let window = |next_incoming_id, incoming_window| Flow {
        next_incoming_id: Some(next_incoming_id),
        incoming_window,
        ..flow()
    };
    peer.send(Performative::Flow(Flow {
        handle: Some(Handle(1)),
        delivery_count: Some(0),
        link_credit: Some(10),
        ..window(0, 2)
    }));
    assert_eq!(peer.deliveries().len(), 2);
    // One of the two was seen; a window of two from there leaves room for one.
    peer.send(Performative::Flow(window(1, 2)));
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn a_message_is_not_locked_while_the_window_is_closed() {
    let stage = Stage::new();
    let mut peer = stage.peer_with(MAX_FRAME_SIZE, 0);
    peer.attach_sender(0, "q");
    peer.send_message(0, "a");
    peer.attach_receiver(1, "q");
    peer.send(Performative::Flow(Flow {
        incoming_window: 0,
        handle: Some(Handle(1)),
        delivery_count: Some(0),
        link_credit: Some(10),
        ..flow()
    }));
    assert_eq!(peer.received(), []);
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!((counts.active, counts.locked), (1, 0));
    peer.send(Performative::Flow(flow()));
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn a_message_half_sent_goes_on_when_the_window_opens() {
    let mut peer = Stage::new().peer_with(512, 1);
    peer.attach_sender(0, "q");
    peer.send_with(
        Performative::Transfer(transfer(0)),
        message_with_body("a", &[7; 1_500]),
    );
    assert_eq!(peer.verdict(0), ACCEPTED);
    peer.attach_receiver(1, "q");
    peer.send(Performative::Flow(Flow {
        incoming_window: 1,
        handle: Some(Handle(1)),
        delivery_count: Some(0),
        link_credit: Some(1),
        ..flow()
    }));
    let mut content = Vec::new();
    for seen in 1.. {
        let frames = peer.received_with();
        assert_eq!(frames.len(), 1);
        let Performative::Transfer(transfer) = &frames[0].0 else {
            panic!()
        };
        assert_eq!(transfer.delivery_id.is_some(), seen == 1);
        content.extend_from_slice(&frames[0].1);
        if !transfer.more {
            break;
        }
        peer.send(Performative::Flow(Flow {
            next_incoming_id: Some(seen),
            incoming_window: 1,
            ..flow()
        }));
    }
    assert_eq!(body(&Bytes::from(content)), [7; 1_500][..]);
}

#[test]
fn our_own_window_is_renewed_before_it_closes() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    let mut left = 5_000u32;
    for delivery_id in 0..6_000 {
        assert!(left > 0);
        left -= 1;
        peer.send_with(Performative::Transfer(transfer(delivery_id)), message("a"));
        for performative in peer.received() {
            if let Performative::Flow(flow) = performative {
                assert_eq!(flow.next_incoming_id, Some(delivery_id + 1));
                left = flow.incoming_window;
            }
        }
    }
}

#[test]
fn receive_and_delete_settles_with_the_delivery() {
    let stage = Stage::new();
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer.send_message(0, "a");
    peer.send(Performative::Attach(Attach {
        snd_settle_mode: SenderSettleMode::Settled,
        rcv_settle_mode: ReceiverSettleMode::First,
        ..attach(1, Role::Receiver, "q")
    }));
    peer.received();
    peer.grant(1, 0, 1);
    let Performative::Transfer(transfer) = peer.only() else {
        panic!()
    };
    assert_eq!(transfer.settled, Some(true));
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!(counts, crate::bus::QueueCounts::default());
}

#[test]
fn a_slow_reader_is_not_sent_the_whole_queue_at_once() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    for delivery_id in 0..100 {
        let large = message_with_body("a", &[0; 50_000]);
        peer.send_with(Performative::Transfer(transfer(delivery_id)), large);
    }
    peer.received();
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 100);
    assert!(peer.engine.out().len() < 400_000);
    let mut count = 0;
    loop {
        match joined(&mut peer).len() {
            0 => break,
            more => count += more,
        }
    }
    assert_eq!(count, 100);
}
