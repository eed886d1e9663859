//! Operations that meet a script.

use std::time::Duration;

use fe2o3_amqp_types::messaging::Accepted;
use fe2o3_amqp_types::performatives::Detach;

use super::management::{lock, operate, requester};
use super::*;
use crate::bus::fault::{Disturbance, Fault, Operation, Script};
use crate::bus::server::disturbed::Cut;

const ACCEPTED: DeliveryState = DeliveryState::Accepted(Accepted {});

impl Stage {
    fn script(&self, script: Script) {
        script.check().unwrap();
        self.hub.faults.add(script);
    }

    fn active(&self) -> usize {
        let entity = self.hub.entity("q").unwrap();
        entity.with(|queue, _| queue.counts()).active
    }
}

fn sender(stage: &Stage) -> Peer {
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer
}

/// A receiver on handle 1 of `q` that has got the message `a`.
fn receiver(stage: &Stage) -> Peer {
    let mut peer = sender(stage);
    peer.send_message(0, "a");
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 5);
    assert_eq!(peer.deliveries().len(), 1);
    peer
}

fn send(peer: &mut Peer, delivery_id: SequenceNo, id: &str) {
    peer.send_with(Performative::Transfer(transfer(delivery_id)), message(id));
}

#[test]
fn a_busy_service_takes_the_next_message_after_it_refused_some() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    stage.script(
        Script::once(Fault::busy())
            .on(Operation::Send, "Q")
            .times(2),
    );
    for delivery_id in 0..2 {
        let verdict = peer.send_message(delivery_id, "a");
        assert_eq!(rejection(&verdict), "com.microsoft:server-busy");
    }
    assert_eq!(peer.send_message(2, "a"), ACCEPTED);
    assert_eq!(stage.active(), 1);
}

#[test]
fn a_reason_always_has_its_third_field_because_a_client_reads_it() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    stage.script(Script::once(Fault::busy()).on(Operation::Send, "q"));
    let DeliveryState::Rejected(rejected) = peer.send_message(0, "a") else {
        panic!()
    };
    assert!(rejected.error.unwrap().info.is_some());
}

#[test]
fn a_message_that_is_never_confirmed_is_there_or_not_as_the_script_says() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    let script = Script::once(Fault::NoAnswer).on(Operation::Send, "q");
    stage.script(script.clone());
    send(&mut peer, 0, "a");
    assert_eq!((peer.received(), stage.active()), (vec![], 0));
    stage.script(script.after());
    send(&mut peer, 1, "b");
    assert_eq!((peer.received(), stage.active()), (vec![], 1));
}

#[test]
fn a_late_confirmation_comes_when_it_is_due() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    stage.script(Script::once(Fault::LateMs(5_000)).on(Operation::Send, "q"));
    send(&mut peer, 0, "a");
    assert_eq!((peer.received(), stage.active()), (vec![], 1));
    let due = peer.engine.next_deadline().unwrap();
    assert_eq!(due, *stage.now.lock().unwrap() + Duration::from_secs(5));
    stage.wait(5);
    peer.engine.on_time();
    assert_eq!(peer.verdict(0), ACCEPTED);
}

#[test]
fn a_settlement_is_dropped_left_unanswered_refused_or_answered_late() {
    let stage = Stage::new();
    let mut peer = receiver(&stage);
    let on = |fault| Script::once(fault).on(Operation::Settle, "q");
    let counters = |stage: &Stage| {
        stage
            .hub
            .entity("q")
            .unwrap()
            .with(|queue, _| queue.counters)
    };
    stage.script(on(Fault::NoAnswer));
    assert_eq!(peer.settle(0, None, false, ACCEPTED), []);
    assert_eq!(counters(&stage).completed, 0);
    // As if it had never come, so it can come again.
    stage.script(on(Fault::NoAnswer).after());
    assert_eq!(peer.settle(0, None, false, ACCEPTED), []);
    assert_eq!(counters(&stage).completed, 1);

    send(&mut peer, 1, "b");
    send(&mut peer, 2, "c");
    peer.received();
    stage.script(on(Fault::refuse("amqp:internal-error")));
    let answers = peer.settle(1, None, false, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "amqp:internal-error");
    stage.script(on(Fault::LateMs(1_000)));
    assert_eq!(peer.settle(2, None, false, ACCEPTED), []);
    assert_eq!(counters(&stage).completed, 2);
    stage.wait(1);
    peer.engine.on_time();
    let Performative::Disposition(late) = peer.only() else {
        panic!()
    };
    assert_eq!((late.first, late.state), (2, Some(ACCEPTED)));
}

#[test]
fn a_lock_is_lost_on_demand_before_a_settlement_and_after_a_delivery() {
    let stage = Stage::new();
    let mut peer = receiver(&stage);
    peer.grant(1, 1, 0);
    stage.script(Script::once(Fault::LoseLock).on(Operation::Settle, "q"));
    let answers = peer.settle(0, None, false, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "com.microsoft:message-lock-lost");
    // The message comes again, and this time its lock is lost with the delivery.
    stage.script(Script::once(Fault::LoseLock).on(Operation::Deliver, "q"));
    peer.grant(1, 1, 1);
    assert_eq!(peer.deliveries().len(), 1);
    let answers = peer.settle(1, None, false, ACCEPTED);
    assert_eq!(rejection(&answers[0].2), "com.microsoft:message-lock-lost");
}

#[test]
fn a_lost_delivery_is_locked_and_nobody_has_it() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    peer.send_message(0, "a");
    peer.send_message(1, "b");
    stage.script(Script::once(Fault::NoAnswer).on(Operation::Deliver, "q"));
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 5);
    let ids: Vec<String> = peer.deliveries().into_iter().map(|(.., id)| id).collect();
    assert_eq!(ids, ["b"]);
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!((counts.locked, counts.active), (2, 0));
}

#[test]
fn a_request_is_refused_dropped_or_answered_late_and_others_are_not() {
    let stage = Stage::new();
    let mut peer = requester(&stage, "q/$management");
    let peek = [
        ("from-sequence-number", Value::Long(1)),
        ("message-count", Value::Int(1)),
    ];
    stage.script(Script::once(Fault::busy()).on_request("peek-message", "q"));
    let answer = operate(&mut peer, 0, "peek-message", peek.clone());
    assert_eq!(answer.status(), 503);
    let condition = answer.condition().and_then(values::text);
    assert_eq!(condition, Some("com.microsoft:server-busy"));
    assert_eq!(
        operate(&mut peer, 1, "peek-message", peek.clone()).status(),
        204
    );

    let renewed = [(
        "lock-tokens",
        Value::Array(vec![values::uuid(lock(&stage))].into()),
    )];
    stage.script(Script::once(Fault::LoseLock).on_request("renew-lock", "q"));
    let answer = operate(&mut peer, 2, "renew-lock", renewed);
    assert_eq!(answer.status(), 410);

    stage.script(Script::once(Fault::LateMs(1_000)).on_request("peek-message", "q"));
    stage.script(Script::once(Fault::NoAnswer).on_request("peek-message", "q"));
    let request = |id: u64| {
        management::request(
            Value::Ulong(id),
            "com.microsoft:peek-message",
            Value::Map(map(peek.clone())),
        )
    };
    for (delivery_id, id) in [(3, 8), (4, 9)] {
        peer.send_with(Performative::Transfer(transfer(delivery_id)), request(id));
        // The request itself is accepted, the answer stays away.
        assert_eq!(peer.verdict(delivery_id), ACCEPTED);
    }
    stage.wait(1);
    peer.engine.on_time();
    let answers = peer.received_with();
    assert_eq!(answers.len(), 1);
    let answer = management::Answer::read(&answers[0].1);
    assert_eq!(answer.correlation_id, Value::Ulong(8));
}

#[test]
fn an_attach_is_refused_with_the_condition_asked_for_or_never_answered() {
    let stage = Stage::new();
    let mut peer = stage.peer();
    stage.script(Script::once(Fault::busy()).on(Operation::Attach, "q"));
    peer.send(Performative::Attach(attach(0, Role::Sender, "q")));
    let answers = peer.received();
    let Performative::Detach(Detach { error, .. }) = &answers[1] else {
        panic!("{answers:#?}")
    };
    assert_eq!(
        condition(error.as_ref().unwrap()),
        "com.microsoft:server-busy"
    );

    stage.script(Script::once(Fault::NoAnswer).on(Operation::Attach, "q"));
    peer.send(Performative::Attach(attach(1, Role::Sender, "q")));
    peer.send_with(
        Performative::Transfer(Transfer {
            handle: Handle(1),
            ..transfer(0)
        }),
        message("a"),
    );
    assert_eq!(peer.received(), []);
    peer.attach_sender(2, "q");
}

#[test]
fn the_links_of_one_entity_are_detached_and_those_of_another_stay() {
    let stage = Stage::with(|config| {
        config.queues.push(crate::bus::QueueConfig::named("other"));
    });
    let mut peer = sender(&stage);
    peer.attach_sender(1, "other");
    peer.engine
        .on_command(crate::bus::server::registry::Command {
            what: Disturbance::detach_forced(),
            entity: Some("other".to_owned()),
        });
    let Performative::Detach(detach) = peer.only() else {
        panic!()
    };
    assert_eq!(detach.handle, Handle(1));
    assert_eq!(condition(&detach.error.unwrap()), "amqp:link:detach-forced");
    assert_eq!(peer.send_message(0, "a"), ACCEPTED);
}

#[test]
fn a_connection_is_cut_before_or_after_the_message_is_taken() {
    let stage = Stage::new();
    let cut = Script::once(Fault::Connection(Disturbance::Reset)).on(Operation::Send, "q");
    for (script, active) in [(cut.clone(), 0), (cut.after(), 1)] {
        let mut peer = sender(&stage);
        stage.script(script);
        send(&mut peer, 0, "a");
        assert_eq!(peer.engine.cut(), Some(Cut::Reset));
        assert_eq!((peer.received(), stage.active()), (vec![], active));
    }
}

#[test]
fn a_connection_ends_in_the_middle_of_the_delivery_it_was_told_of() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    peer.send_message(0, "a");
    let script = Script::once(Fault::Connection(Disturbance::HalfFrame));
    stage.script(script.on(Operation::Deliver, "q").after());
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 5);
    assert_eq!(peer.engine.cut(), Some(Cut::HalfFrame));
    let mut out = peer.engine.out().split();
    // The session's flow aside, what there is is no whole frame.
    assert!(!out.is_empty());
    assert!(matches!(frame::take(&mut out, 65_536), Ok(None)));
}

#[test]
fn a_stalled_connection_goes_on_where_it_was() {
    let stage = Stage::new();
    let mut peer = sender(&stage);
    peer.engine
        .on_command(crate::bus::server::registry::Command {
            what: Disturbance::StallMs(3_000),
            entity: None,
        });
    assert!(peer.engine.is_silent());
    stage.wait(3);
    assert!(!peer.engine.is_silent());
    assert_eq!(peer.send_message(0, "a"), ACCEPTED);
}

#[test]
fn whatever_bytes_come_no_peer_brings_the_broker_down() {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};
    let stage = Stage::new();
    let mut good = sender(&stage);
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = bytes::BytesMut::new();
        for channel in 0..2 {
            frame::put(&mut bytes, channel, &open(512)).unwrap();
            frame::put(&mut bytes, channel, &begin(10)).unwrap();
            frame::put(&mut bytes, channel, &attach(0, Role::Sender, "q")).unwrap();
            let mut payload = message("a");
            frame::put_transfer(&mut bytes, channel, &mut transfer(0), &mut payload, 512).unwrap();
            frame::put(&mut bytes, channel, &attach(1, Role::Receiver, "q")).unwrap();
            frame::put(&mut bytes, channel, &flow()).unwrap();
        }
        for _ in 0..rng.random_range(1..20) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        let (wake, _woken) = unbounded_channel();
        let mut engine = Engine::new(Arc::clone(&stage.hub), wake, None);
        while let Ok(Some(frame)) = frame::take(&mut bytes, MAX_FRAME_SIZE as usize) {
            engine.on_frame(frame);
        }
        engine.leave();
    }
    assert_eq!(good.send_message(0, "a"), ACCEPTED);
}
