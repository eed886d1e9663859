//! Attaching, credit, draining, detaching.

use fe2o3_amqp_types::performatives::{Detach, End};

use super::*;

fn detached(performative: &Performative) -> String {
    match performative {
        Performative::Detach(detach) => {
            assert!(detach.closed);
            condition(detach.error.as_ref().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sender_is_answered_in_kind_and_gets_credit_at_once() {
    let mut peer = Stage::new().peer();
    let asked = attach(3, Role::Sender, "q");
    peer.send(Performative::Attach(asked.clone()));
    let answers = peer.received();
    let [Performative::Attach(answer), Performative::Flow(flow)] = &answers[..] else {
        panic!("{answers:#?}")
    };
    assert_eq!(answer.role, Role::Receiver);
    assert_eq!((&answer.name, &answer.handle), (&asked.name, &asked.handle));
    assert_eq!(
        (&answer.source, &answer.target),
        (&asked.source, &asked.target)
    );
    assert_eq!(answer.snd_settle_mode, asked.snd_settle_mode);
    assert_eq!(answer.rcv_settle_mode, asked.rcv_settle_mode);
    assert_eq!(answer.max_message_size, Some(262_144));
    assert_eq!(
        (flow.handle.clone(), flow.link_credit),
        (Some(Handle(3)), Some(1_000))
    );
}

#[test]
fn a_receiver_is_told_the_initial_delivery_count() {
    let mut peer = Stage::new().peer();
    peer.send(Performative::Attach(attach(
        0,
        Role::Receiver,
        "q/$DeadLetterQueue",
    )));
    let Performative::Attach(answer) = peer.only() else {
        panic!()
    };
    assert_eq!(answer.role, Role::Sender);
    assert_eq!(answer.initial_delivery_count, Some(0));
}

#[test]
fn a_refused_link_is_attached_without_termini_and_detached_with_the_reason() {
    let refused = |role, address: &str| {
        let mut peer = Stage::new().peer();
        peer.send(Performative::Attach(attach(0, role, address)));
        let answers = peer.received();
        let Performative::Attach(answer) = &answers[0] else {
            panic!("{answers:#?}")
        };
        assert_eq!((&answer.source, &answer.target), (&None, &None));
        assert_eq!(answers.len(), 2);
        detached(&answers[1])
    };
    assert_eq!(refused(Role::Sender, "typo"), "amqp:not-found");
    assert_eq!(refused(Role::Receiver, "typo"), "amqp:not-found");
    assert_eq!(
        refused(Role::Receiver, "typo/$management"),
        "amqp:not-found"
    );
    assert_eq!(
        refused(Role::Receiver, "q/subscriptions/s"),
        "amqp:not-found"
    );
    assert_eq!(
        refused(Role::Sender, "q/$DeadLetterQueue"),
        "amqp:not-allowed"
    );
}

#[test]
fn a_refused_handle_is_free_again_once_the_client_has_detached_too() {
    let mut peer = Stage::new().peer();
    peer.send(Performative::Attach(attach(0, Role::Sender, "typo")));
    // Sent before the refusal was seen.
    peer.send_with(Performative::Transfer(transfer(0)), message("a"));
    peer.received();
    peer.send(Performative::Detach(Detach {
        handle: Handle(0),
        closed: true,
        error: None,
    }));
    assert_eq!(peer.received(), []);
    peer.attach_sender(0, "q");
}

#[test]
fn deliveries_stop_when_the_credit_is_used_up() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    for (delivery_id, id) in [(0, "a"), (1, "b"), (2, "c")] {
        peer.send_message(delivery_id, id);
    }
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 2);
    assert_eq!(peer.deliveries().len(), 2);
    // The same words again: two deliveries have been seen to now, none is granted beyond them.
    peer.grant(1, 0, 2);
    assert_eq!(peer.deliveries().len(), 0);
    peer.grant(1, 2, 1);
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn unlimited_credit_is_credit() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    peer.send_message(0, "a");
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, u32::MAX);
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn credit_waits_for_messages() {
    let stage = Stage::new();
    let (mut sender, mut receiver) = (stage.peer(), stage.peer());
    receiver.attach_receiver(0, "q");
    receiver.grant(0, 0, 5);
    assert_eq!(receiver.deliveries(), []);
    sender.attach_sender(0, "q");
    sender.send_message(0, "a");
    assert_eq!(receiver.deliveries().len(), 1);
}

#[test]
fn credit_taken_back_is_not_used() {
    let stage = Stage::new();
    let (mut sender, mut one, mut other) = (stage.peer(), stage.peer(), stage.peer());
    for receiver in [&mut one, &mut other] {
        receiver.attach_receiver(0, "q");
        receiver.grant(0, 0, 5);
    }
    sender.attach_sender(0, "q");
    sender.send_message(0, "a");
    // The wake for it is on its way to the receiver that came first, which changes its mind.
    one.grant(0, 0, 0);
    assert_eq!(one.deliveries(), []);
    assert_eq!(other.deliveries().len(), 1);
}

#[test]
fn a_receiver_that_vanishes_leaves_its_turn_to_the_next() {
    let stage = Stage::new();
    let (mut sender, mut one, mut other) = (stage.peer(), stage.peer(), stage.peer());
    for receiver in [&mut one, &mut other] {
        receiver.attach_receiver(0, "q");
        receiver.grant(0, 0, 5);
    }
    sender.attach_sender(0, "q");
    sender.send_message(0, "a");
    one.engine.leave();
    assert_eq!(other.deliveries().len(), 1);
}

#[test]
fn draining_uses_up_the_credit_and_says_so() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    peer.send_message(0, "a");
    peer.attach_receiver(1, "q");
    peer.send(Performative::Flow(Flow {
        handle: Some(Handle(1)),
        delivery_count: Some(0),
        link_credit: Some(10),
        drain: true,
        ..flow()
    }));
    let frames = peer.received();
    let [Performative::Transfer(_), Performative::Flow(flow)] = &frames[..] else {
        panic!("{frames:#?}")
    };
    assert!(flow.drain);
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(10), Some(0)));
    // No message goes to a drained link.
    peer.send_message(1, "b");
    assert_eq!(peer.deliveries(), []);
    peer.grant(1, 10, 1);
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn a_drain_without_messages_is_answered_at_once_and_one_without_credit_too() {
    let mut peer = Stage::new().peer();
    peer.attach_receiver(1, "q");
    for (granted, delivery_count) in [(7, 7), (0, 7)] {
        peer.send(Performative::Flow(Flow {
            handle: Some(Handle(1)),
            delivery_count: Some(if granted == 7 { 0 } else { 7 }),
            link_credit: Some(granted),
            drain: true,
            ..flow()
        }));
        let Performative::Flow(flow) = peer.only() else {
            panic!()
        };
        assert_eq!(
            (flow.delivery_count, flow.link_credit, flow.drain),
            (Some(delivery_count), Some(0), true)
        );
    }
}

#[test]
fn exactly_as_many_messages_come_as_there_is_credit() {
    let stage = Stage::new();
    let mut sender = stage.peer();
    sender.attach_sender(0, "q");
    for delivery_id in 0..40 {
        sender.send_message(delivery_id, "a");
    }
    let mut receiver = stage.peer();
    receiver.attach_receiver(0, "q");
    let mut seen = 0;
    for credit in [1, 3, 0, 7, 2, 20] {
        receiver.grant(0, seen, credit);
        assert_eq!(receiver.deliveries().len(), credit as usize);
        seen += credit;
    }
}

#[test]
fn a_flow_that_asks_for_an_echo_gets_one() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    peer.send(Performative::Flow(Flow {
        handle: Some(Handle(0)),
        echo: true,
        ..flow()
    }));
    let Performative::Flow(echo) = peer.only() else {
        panic!()
    };
    assert_eq!(
        (echo.delivery_count, echo.link_credit),
        (Some(0), Some(1_000))
    );
}

#[test]
fn a_sender_is_given_new_credit_when_half_is_used() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    let mut granted = Vec::new();
    for delivery_id in 0..1_200 {
        peer.send_with(Performative::Transfer(transfer(delivery_id)), message("a"));
        for performative in peer.received() {
            if let Performative::Flow(flow) = performative {
                granted.push((flow.delivery_count, flow.link_credit));
            }
        }
    }
    assert_eq!(
        granted,
        [(Some(500), Some(1_000)), (Some(1_000), Some(1_000))]
    );
}

#[test]
fn locks_outlive_the_link_they_were_given_on() {
    let stage = Stage::new();
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer.send_message(0, "a");
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 1);
    assert_eq!(peer.deliveries().len(), 1);
    peer.send(Performative::Detach(Detach {
        handle: Handle(1),
        closed: true,
        error: None,
    }));
    assert!(matches!(peer.only(), Performative::Detach(_)));

    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 1);
    assert_eq!(peer.deliveries(), []);
    stage.wait(60);
    // The broker's timer would do this.
    stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, now| queue.advance(now));
    assert_eq!(peer.deliveries().len(), 1);
}

#[test]
fn ending_a_session_ends_its_links() {
    let stage = Stage::new();
    let (mut sender, mut one, mut other) = (stage.peer(), stage.peer(), stage.peer());
    for receiver in [&mut one, &mut other] {
        receiver.attach_receiver(0, "q");
        receiver.grant(0, 0, 5);
    }
    one.send(Performative::End(End { error: None }));
    assert!(matches!(one.only(), Performative::End(_)));
    sender.attach_sender(0, "q");
    sender.send_message(0, "a");
    assert_eq!(other.deliveries().len(), 1);
}
