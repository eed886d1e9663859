//! Session receivers on the wire.

use fe2o3_amqp_types::messaging::{Accepted, FilterSet};
use fe2o3_amqp_types::performatives::{Close, Detach};
use serde_amqp::primitives::{Array, Symbol};

use super::management::{operate, operate_with};
use super::*;
use crate::bus::fault::{Fault, Operation, Script};

const ACCEPTED: DeliveryState = DeliveryState::Accepted(Accepted {});
const FILTER: &str = "com.microsoft:session-filter";

fn stage() -> Stage {
    Stage::with(|config| config.queues[0].requires_session = true)
}

/// An attach that asks for a session: plain, undescribed filter value, as the official clients
/// write it.
fn session_attach(handle: u32, session: Option<&str>) -> Attach {
    let mut attach = attach(handle, Role::Receiver, "q");
    let value = session.map_or(Value::Null, |id| Value::String(id.to_owned()));
    let mut filter = FilterSet::new();
    filter.insert(Symbol::from(FILTER), value);
    attach.source.as_mut().unwrap().filter = Some(filter);
    let timeout = [(Symbol::from("com.microsoft:timeout"), Value::Uint(5_000))];
    attach.properties = Some(timeout.into_iter().collect());
    attach
}

impl Peer {
    fn ask(&mut self, handle: u32, session: Option<&str>) {
        let attach = session_attach(handle, session);
        self.send(Performative::Attach(attach));
    }

    /// The session that an attach was granted.
    fn granted(&mut self) -> String {
        let Performative::Attach(answer) = self.only() else {
            panic!()
        };
        let filter = answer.source.unwrap().filter.unwrap();
        values::text(filter.get(&Symbol::from(FILTER)).unwrap())
            .unwrap()
            .to_owned()
    }

    /// The condition with which an attach was refused.
    fn refused(&mut self) -> String {
        let answers = self.received();
        let [Performative::Attach(attach), Performative::Detach(detach)] = &answers[..] else {
            panic!("{answers:#?}")
        };
        assert_eq!((&attach.source, &attach.target), (&None, &None));
        condition(detach.error.as_ref().unwrap())
    }

    fn send_in(&mut self, delivery_id: SequenceNo, session: &str, id: &str) {
        let message = session_message(session, id);
        self.send_with(Performative::Transfer(transfer(delivery_id)), message);
        assert_eq!(self.verdict(delivery_id), ACCEPTED);
    }

    fn detach(&mut self, handle: u32) {
        self.send(Performative::Detach(Detach {
            handle: Handle(handle),
            closed: true,
            error: None,
        }));
    }
}

fn session_message(session: &str, id: &str) -> Bytes {
    let mut fields = vec![Value::Null; 10];
    fields[0] = Value::String(id.to_owned());
    fields.push(Value::String(session.to_owned()));
    let mut bytes = values::section(section::PROPERTIES, Value::List(fields)).unwrap();
    let body = Value::Binary(Binary::from(b"body".to_vec()));
    bytes.extend(values::section(section::DATA, body).unwrap());
    Bytes::from(bytes)
}

fn sender(stage: &Stage) -> Peer {
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer
}

#[test]
fn a_message_without_a_session_id_is_refused_and_the_link_stays() {
    let mut peer = sender(&stage());
    assert_eq!(rejection(&peer.send_message(0, "a")), "amqp:not-allowed");
    peer.send_in(1, "s", "b");
}

#[test]
fn receivers_are_refused_where_they_do_not_fit() {
    let mut peer = stage().peer();
    peer.send(Performative::Attach(attach(0, Role::Receiver, "q")));
    assert_eq!(peer.refused(), "amqp:not-allowed");
    let mut elsewhere = Stage::new().peer();
    elsewhere.ask(0, Some("s"));
    assert_eq!(elsewhere.refused(), "amqp:not-allowed");
    elsewhere.ask(1, None);
    assert_eq!(elsewhere.refused(), "amqp:not-allowed");
    // A dead-letter queue has no sessions.
    peer.attach_receiver(1, "q/$DeadLetterQueue");
}

#[test]
fn the_granted_session_and_the_end_of_its_lock_are_told() {
    let mut peer = stage().peer();
    peer.ask(0, Some("s"));
    let Performative::Attach(answer) = peer.only() else {
        panic!()
    };
    assert_eq!(answer.initial_delivery_count, Some(0));
    let properties = answer.properties.unwrap();
    // 2026-01-05 08:01 UTC in .NET ticks.
    let until = Value::Long(639_031_968_600_000_000);
    let name = Symbol::from("com.microsoft:locked-until-utc");
    assert_eq!(properties.get(&name), Some(&until));
}

#[test]
fn a_taken_session_cannot_be_locked_until_its_receiver_closes() {
    let stage = stage();
    let (mut one, mut other) = (stage.peer(), stage.peer());
    one.ask(0, Some("s"));
    assert_eq!(one.granted(), "s");
    other.ask(0, Some("s"));
    assert_eq!(other.refused(), "com.microsoft:session-cannot-be-locked");
    one.detach(0);
    assert!(matches!(one.only(), Performative::Detach(_)));
    other.ask(1, Some("s"));
    assert_eq!(other.granted(), "s");
}

#[test]
fn a_connection_that_breaks_keeps_its_session_until_the_lock_runs_out() {
    let stage = stage();
    let (mut one, mut other) = (stage.peer(), stage.peer());
    one.ask(0, Some("s"));
    assert_eq!(one.granted(), "s");
    one.engine.leave();
    other.ask(0, Some("s"));
    assert_eq!(other.refused(), "com.microsoft:session-cannot-be-locked");
    stage.wait(60);
    other.ask(1, Some("s"));
    assert_eq!(other.granted(), "s");
    // One that is closed in good order lets go of it at once.
    other.send(Performative::Close(Close { error: None }));
    let mut third = stage.peer();
    third.ask(0, Some("s"));
    assert_eq!(third.granted(), "s");
}

#[test]
fn an_attach_is_held_until_there_is_a_session() {
    let stage = stage();
    let (mut sender, mut receiver) = (sender(&stage), stage.peer());
    receiver.ask(0, None);
    // Credit may come ahead of the answer.
    receiver.grant(0, 0, 5);
    assert_eq!(receiver.received(), []);
    sender.send_in(0, "s", "a");
    let frames = receiver.received_with();
    let [
        (Performative::Attach(_), _),
        (Performative::Transfer(_), payload),
    ] = &frames[..]
    else {
        panic!("{frames:#?}")
    };
    assert_eq!(message_id(payload), "a");
}

#[test]
fn an_attach_that_finds_no_session_in_time_is_refused_with_a_timeout() {
    let stage = stage();
    let mut peer = stage.peer();
    peer.ask(0, None);
    stage.wait(4);
    stage.tick();
    assert_eq!(peer.received(), []);
    stage.wait(1);
    stage.tick();
    assert_eq!(peer.refused(), "com.microsoft:timeout");
}

#[test]
fn a_held_attach_that_is_given_up_takes_no_session() {
    let stage = stage();
    let (mut sender, mut one, mut other) = (sender(&stage), stage.peer(), stage.peer());
    one.ask(0, None);
    one.detach(0);
    let answers = one.received();
    let [Performative::Attach(answer), Performative::Detach(_)] = &answers[..] else {
        panic!("{answers:#?}")
    };
    assert_eq!(answer.source, None);
    sender.send_in(0, "s", "a");
    other.ask(0, None);
    assert_eq!(other.granted(), "s");
}

#[test]
fn sessions_are_received_side_by_side_each_in_order() {
    let stage = stage();
    let mut sender = sender(&stage);
    for (delivery_id, session, id) in [(0, "s", "s1"), (1, "t", "t1"), (2, "s", "s2")] {
        sender.send_in(delivery_id, session, id);
    }
    let mut peer = stage.peer();
    peer.ask(0, None);
    assert_eq!(peer.granted(), "s");
    peer.ask(1, None);
    assert_eq!(peer.granted(), "t");
    let mut ids = |handle| {
        peer.grant(handle, 0, 5);
        let deliveries = peer.deliveries().into_iter();
        deliveries.map(|(_, _, id)| id).collect::<Vec<_>>()
    };
    assert_eq!(ids(0), ["s1", "s2"]);
    assert_eq!(ids(1), ["t1"]);
}

#[test]
fn a_link_whose_session_is_lost_is_detached_with_the_reason() {
    let stage = stage();
    sender(&stage).send_in(0, "s", "a");
    let mut peer = stage.peer();
    peer.ask(1, Some("s"));
    peer.granted();
    peer.grant(1, 0, 5);
    assert_eq!(peer.deliveries().len(), 1);
    stage.wait(60);
    // The client settles before it has heard.
    peer.send(Performative::Disposition(Disposition {
        role: Role::Receiver,
        first: 0,
        last: None,
        settled: false,
        state: Some(ACCEPTED),
        batchable: false,
    }));
    let answers = peer.received();
    let [
        Performative::Disposition(answer),
        Performative::Detach(detach),
    ] = &answers[..]
    else {
        panic!("{answers:#?}")
    };
    let state = answer.state.as_ref().unwrap();
    assert_eq!(rejection(state), "com.microsoft:session-lock-lost");
    let lost = condition(detach.error.as_ref().unwrap());
    assert_eq!(lost, "com.microsoft:session-lock-lost");
}

/// A peer that holds session `s` on handle 2 and its one message, with links to the management
/// node on handles 0 and 1.
fn holder(stage: &Stage) -> (Peer, Uuid) {
    sender(stage).send_in(0, "s", "a");
    let mut peer = stage.peer();
    peer.attach_sender(0, "q/$management");
    peer.attach_receiver(1, "q/$management");
    peer.grant(1, 0, 100);
    peer.ask(2, Some("s"));
    peer.granted();
    peer.grant(2, 0, 1);
    let token = peer.deliveries()[0].1;
    (peer, token)
}

fn completion(token: Uuid, session: Option<&str>) -> Vec<(&'static str, Value)> {
    let tokens = Value::Array(Array::from(vec![values::uuid(token)]));
    let mut body = vec![
        ("lock-tokens", tokens),
        ("disposition-status", Value::String("completed".into())),
    ];
    let session = session.map(|id| ("session-id", Value::String(id.to_owned())));
    body.extend(session);
    body
}

#[test]
fn only_who_holds_a_session_settles_its_messages_over_the_management_node() {
    let stage = stage();
    let (mut peer, token) = holder(&stage);
    let mut other = stage.peer();
    other.attach_sender(0, "q/$management");
    other.attach_receiver(1, "q/$management");
    other.grant(1, 0, 100);
    for session in [None, Some("s")] {
        let answer = operate(
            &mut other,
            u32::from(session.is_some()),
            "update-disposition",
            completion(token, session),
        );
        assert_eq!(answer.status(), 410);
        let lost = answer.condition().and_then(values::text);
        assert_eq!(lost, Some("com.microsoft:session-lock-lost"));
    }
    // Not even its holder does without naming the session, or for another link.
    let answer = operate(&mut peer, 0, "update-disposition", completion(token, None));
    assert_eq!(answer.status(), 410);
    let of_another = [("associated-link-name", Value::String("link-9".into()))];
    let done = completion(token, Some("s"));
    let answer = operate_with(&mut peer, 1, "update-disposition", of_another, done.clone());
    assert_eq!(answer.status(), 410);
    let of_holder = [("associated-link-name", Value::String("link-2".into()))];
    let answer = operate_with(&mut peer, 2, "update-disposition", of_holder, done);
    assert_eq!(answer.status(), 200);
}

#[test]
fn a_session_is_renewed_and_keeps_a_state() {
    let stage = stage();
    let (mut peer, _) = holder(&stage);
    let session = ("session-id", Value::String("s".into()));
    stage.wait(30);
    let answer = operate(&mut peer, 0, "renew-session-lock", [session.clone()]);
    let until = datetime!(2026-01-05 08:01:30 UTC);
    assert_eq!(answer.member("expiration"), values::timestamp(until));

    let state = ("session-state", Value::Binary(b"x".to_vec().into()));
    let body = [session.clone(), state.clone()];
    assert_eq!(
        operate(&mut peer, 1, "set-session-state", body).status(),
        200
    );
    let answer = operate(&mut peer, 2, "get-session-state", [session.clone()]);
    assert_eq!(answer.member("session-state"), state.1);

    let nobodys = ("session-id", Value::String("t".into()));
    let answer = operate(&mut peer, 3, "renew-session-lock", [nobodys]);
    assert_eq!(answer.status(), 410);
}

#[test]
fn sessions_are_listed_page_by_page() {
    let stage = stage();
    let mut sender = sender(&stage);
    for (delivery_id, session) in [(0, "b"), (1, "a"), (2, "c")] {
        sender.send_in(delivery_id, session, "m");
    }
    let mut peer = stage.peer();
    peer.attach_sender(0, "q/$management");
    peer.attach_receiver(1, "q/$management");
    peer.grant(1, 0, 100);
    let page = |skip| {
        let any = serde_amqp::primitives::Timestamp::from_milliseconds(253_402_300_800_000);
        [
            ("last-updated-time", Value::Timestamp(any)),
            ("skip", Value::Int(skip)),
            ("top", Value::Int(2)),
        ]
    };
    let answer = operate(&mut peer, 0, "get-message-sessions", page(0));
    let names = |names: &[&str]| {
        let names = names.iter().map(|name| Value::String((*name).into()));
        Value::Array(Array::from(names.collect::<Vec<_>>()))
    };
    assert_eq!(answer.member("sessions-ids"), names(&["a", "b"]));
    let answer = operate(&mut peer, 1, "get-message-sessions", page(2));
    assert_eq!(answer.member("sessions-ids"), names(&["c"]));
    assert_eq!(answer.member("skip"), Value::Int(2));
    let answer = operate(&mut peer, 2, "get-message-sessions", page(3));
    assert_eq!(answer.status(), 204);
}

#[test]
fn a_session_lost_on_demand_is_told_to_its_receiver() {
    let stage = stage();
    sender(&stage).send_in(0, "s", "a");
    let mut peer = stage.peer();
    peer.ask(0, Some("s"));
    peer.granted();
    let script = Script::once(Fault::LoseLock).on(Operation::Deliver, "q");
    stage.hub.faults.add(script);
    peer.grant(0, 0, 1);
    let answers = peer.received();
    let Some(Performative::Detach(detach)) = answers.last() else {
        panic!("{answers:#?}")
    };
    let lost = condition(detach.error.as_ref().unwrap());
    assert_eq!(lost, "com.microsoft:session-lock-lost");
}

#[test]
fn a_receiver_that_waits_for_a_session_is_not_idle_and_one_that_has_it_is() {
    let stage = stage();
    let mut peer = stage.peer();
    let mut attach = session_attach(0, None);
    let patience = [(
        Symbol::from("com.microsoft:timeout"),
        Value::Uint(3_600_000),
    )];
    attach.properties = Some(patience.into_iter().collect());
    peer.send(Performative::Attach(attach));
    stage.wait(700);
    peer.engine.on_time();
    assert_eq!(peer.received(), []);

    sender(&stage).send_in(0, "s", "a");
    peer.granted();
    stage.wait(599);
    peer.engine.on_time();
    assert_eq!(peer.received(), []);
    stage.wait(1);
    peer.engine.on_time();
    let Performative::Detach(detach) = peer.only() else {
        panic!()
    };
    let idle = condition(detach.error.as_ref().unwrap());
    assert_eq!(idle, "amqp:link:detach-forced");
}

#[test]
fn a_waiting_receiver_whose_token_expires_gets_the_attach_it_waits_for_before_the_reason() {
    let mut peer = stage().peer();
    peer.ask(0, None);
    assert_eq!(peer.received(), []);
    peer.engine.expire_tokens();
    assert_eq!(peer.refused(), "amqp:unauthorized-access");
}
