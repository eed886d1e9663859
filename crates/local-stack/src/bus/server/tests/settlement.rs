//! Verdicts on deliveries, and what the broker answers to each.

use fe2o3_amqp_types::definitions::{ErrorCondition, Fields};
use fe2o3_amqp_types::messaging::{Accepted, Modified, Received, Rejected, Released};
use serde_amqp::primitives::Symbol;

use super::*;
use crate::bus::queue::SubQueue;
use crate::bus::view::MessageView;

const ACCEPTED: DeliveryState = DeliveryState::Accepted(Accepted {});
const RELEASED: DeliveryState = DeliveryState::Released(Released {});

fn modified(undeliverable_here: bool, properties: Option<Fields>) -> DeliveryState {
    DeliveryState::Modified(Modified {
        delivery_failed: None,
        undeliverable_here: Some(undeliverable_here),
        message_annotations: properties,
    })
}

/// How the broker repeats an outcome: without its details.
fn bare_modified() -> DeliveryState {
    DeliveryState::Modified(Modified {
        delivery_failed: None,
        undeliverable_here: None,
        message_annotations: None,
    })
}

fn dead_letter() -> DeliveryState {
    let mut info = Fields::new();
    for (key, value) in [
        ("DeadLetterReason", "r"),
        ("DeadLetterErrorDescription", "d"),
    ] {
        info.insert(Symbol::from(key), Value::String(value.into()));
    }
    let condition = ErrorCondition::Custom(Symbol::from("com.microsoft:dead-letter"));
    DeliveryState::Rejected(Rejected {
        error: Some(Error::new(condition, None, info)),
    })
}

/// A peer that has been delivered `count` messages on handle 1, as deliveries 0 and up.
fn receiver(stage: &Stage, count: u32) -> (Peer, Vec<Uuid>) {
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    for delivery_id in 0..count {
        peer.send_message(delivery_id, &format!("m{delivery_id}"));
    }
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, count);
    let tokens = peer
        .deliveries()
        .into_iter()
        .map(|(_, token, _)| token)
        .collect();
    (peer, tokens)
}

fn views(stage: &Stage, sub: SubQueue) -> Vec<MessageView> {
    let queue = stage.hub.entity("q").unwrap();
    queue.with(|queue, _| queue.entries(sub).map(MessageView::of).collect())
}

#[test]
fn an_unsettled_verdict_is_answered_with_the_same_outcome() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 5);
    let rejected = DeliveryState::Rejected(Rejected { error: None });
    for (delivery_id, verdict, answer) in [
        (0, ACCEPTED, ACCEPTED),
        (1, modified(false, None), bare_modified()),
        (2, modified(true, None), bare_modified()),
        (3, dead_letter(), rejected),
        (4, RELEASED, RELEASED),
    ] {
        let answers = peer.settle(delivery_id, None, false, verdict);
        assert_eq!(answers, [(delivery_id, None, answer)]);
    }
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!((counts.active, counts.locked), (2, 0));
    assert_eq!((counts.deferred, counts.dead_letter), (1, 1));
}

#[test]
fn a_settled_verdict_is_carried_out_without_an_answer() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 1);
    assert_eq!(peer.settle(0, None, true, ACCEPTED), []);
    assert_eq!(views(&stage, SubQueue::Main).len(), 0);
}

#[test]
fn a_range_is_settled_and_answered_as_one() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 5);
    assert_eq!(
        peer.settle(1, Some(3), false, ACCEPTED),
        [(1, Some(3), ACCEPTED)]
    );
    let left: Vec<String> = views(&stage, SubQueue::Main)
        .into_iter()
        .map(|view| view.message_id)
        .collect();
    assert_eq!(left, ["m0", "m4"]);
}

#[test]
fn a_dead_letters_reason_becomes_application_properties() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 1);
    peer.settle(0, None, false, dead_letter());
    let dead = &views(&stage, SubQueue::DeadLetter)[0];
    assert_eq!(dead.dead_letter_reason.as_deref(), Some("r"));
    assert_eq!(dead.dead_letter_description.as_deref(), Some("d"));
}

#[test]
fn properties_to_modify_become_application_properties() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 1);
    let mut properties = Fields::new();
    properties.insert(Symbol::from("attempt"), Value::Int(1));
    peer.settle(0, None, false, modified(false, Some(properties)));
    let view = &views(&stage, SubQueue::Main)[0];
    assert_eq!(view.properties["attempt"], 1);
    assert_eq!(view.delivery_count, 1);
}

#[test]
fn a_lost_lock_is_told_as_such() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 2);
    stage.wait(60);
    for (delivery_id, verdict) in [(0, ACCEPTED), (1, dead_letter())] {
        let answers = peer.settle(delivery_id, None, false, verdict);
        assert_eq!(rejection(&answers[0].2), "com.microsoft:message-lock-lost");
    }
    assert_eq!(views(&stage, SubQueue::Main).len(), 2);
}

#[test]
fn a_lock_settled_elsewhere_is_lost_here() {
    let stage = Stage::new();
    let (mut peer, tokens) = receiver(&stage, 1);
    let settlement = crate::bus::queue::settle::Settlement::Complete;
    let queue = stage.hub.entity("q").unwrap();
    queue
        .with(|queue, now| queue.settle(SubQueue::Main, tokens[0], &settlement, now))
        .unwrap();
    let answers = peer.settle(0, None, false, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "com.microsoft:message-lock-lost");
}

#[test]
fn a_delivery_never_made_is_not_found() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 2);
    let answers = peer.settle(7, None, false, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "amqp:not-found");
    // Settled once, a delivery is forgotten.
    peer.settle(0, None, false, ACCEPTED);
    let answers = peer.settle(0, None, false, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "amqp:not-found");
}

#[test]
fn a_range_over_everything_is_answered_in_three_parts() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 3);
    peer.settle(0, None, false, ACCEPTED);
    let answers = peer.settle(0, Some(u32::MAX), false, ACCEPTED);
    let shape: Vec<_> = answers
        .iter()
        .map(|(first, last, _)| (*first, *last))
        .collect();
    assert_eq!(shape, [(0, None), (1, Some(2)), (3, Some(u32::MAX))]);
    assert_eq!(answers[1].2, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "amqp:not-found");
    assert_eq!(rejection(&answers[2].2), "amqp:not-found");
}

#[test]
fn half_a_verdict_changes_nothing() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 1);
    let received = Received {
        section_number: 0,
        section_offset: 0,
    };
    assert_eq!(
        peer.settle(0, None, false, DeliveryState::Received(received)),
        []
    );
    assert_eq!(peer.settle(0, None, false, ACCEPTED), [(0, None, ACCEPTED)]);
}

#[test]
fn a_dead_letter_cannot_be_dead_lettered() {
    let stage = Stage::new();
    let (mut peer, _) = receiver(&stage, 1);
    peer.settle(0, None, false, dead_letter());
    peer.attach_receiver(2, "q/$deadletterqueue");
    peer.grant(2, 0, 1);
    let (delivery_id, ..) = peer.deliveries()[0];
    let answers = peer.settle(delivery_id, None, false, dead_letter());
    assert_eq!(rejection(&answers[0].2), "amqp:not-allowed");
}
