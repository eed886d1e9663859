//! Peers that break the rules, and how far the damage goes.

use fe2o3_amqp_types::performatives::End;

use super::*;

/// The condition with which the broker closed the connection.
fn closed(peer: &mut Peer) -> String {
    assert!(peer.engine.is_closed());
    match peer.received().last() {
        Some(Performative::Close(close)) => condition(close.error.as_ref().unwrap()),
        other => panic!("{other:?}"),
    }
}

/// The condition with which the broker ended the session.
fn ended(peer: &mut Peer) -> String {
    assert!(!peer.engine.is_closed());
    match peer.received().last() {
        Some(Performative::End(end)) => condition(end.error.as_ref().unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_sent_before_the_open() {
    let stage = Stage::new();
    let (wake, _woken) = unbounded_channel();
    let mut engine = Engine::new(Arc::clone(&stage.hub), wake, None);
    assert_eq!(engine.heartbeat(), None);
    engine.put_heartbeat();
    assert!(engine.out().is_empty());
    let frame = Performative::Open(Open {
        idle_time_out: Some(60_000),
        ..open(512)
    });
    engine.on_frame(Frame::Amqp {
        channel: 0,
        performative: frame,
        payload: Bytes::new(),
    });
    assert_eq!(engine.heartbeat(), Some(std::time::Duration::from_secs(30)));
}

#[test]
fn an_idle_timeout_of_zero_asks_for_no_heartbeats() {
    let stage = Stage::new();
    let (wake, _woken) = unbounded_channel();
    let mut engine = Engine::new(Arc::clone(&stage.hub), wake, None);
    let frame = Performative::Open(Open {
        idle_time_out: Some(0),
        ..open(512)
    });
    engine.on_frame(Frame::Amqp {
        channel: 0,
        performative: frame,
        payload: Bytes::new(),
    });
    assert_eq!(engine.heartbeat(), None);
}

#[test]
fn a_frame_in_no_session_closes_the_connection() {
    let mut peer = Stage::new().peer();
    let attach = Performative::Attach(attach(0, Role::Sender, "q"));
    peer.engine.on_frame(Frame::Amqp {
        channel: 9,
        performative: attach,
        payload: Bytes::new(),
    });
    assert_eq!(closed(&mut peer), "amqp:illegal-state");
}

#[test]
fn a_transfer_on_no_link_ends_the_session_only() {
    let mut peer = Stage::new().peer();
    peer.send_with(Performative::Transfer(transfer(0)), message("a"));
    assert_eq!(ended(&mut peer), "amqp:session:unattached-handle");
    // What was on its way is ignored until the client has ended the session too.
    peer.send_with(Performative::Transfer(transfer(1)), message("b"));
    assert_eq!(peer.received(), []);
    peer.send(Performative::End(End { error: None }));
    peer.send(Performative::Begin(begin(2_048)));
    assert!(matches!(peer.only(), Performative::Begin(_)));
}

#[test]
fn a_handle_attached_twice_ends_the_session() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q");
    peer.send(Performative::Attach(attach(0, Role::Sender, "q")));
    assert_eq!(ended(&mut peer), "amqp:session:handle-in-use");
}

#[test]
fn a_handle_too_high_closes_the_connection() {
    let mut peer = Stage::new().peer();
    peer.send(Performative::Attach(attach(256, Role::Sender, "q")));
    assert_eq!(closed(&mut peer), "amqp:connection:framing-error");
}

#[test]
fn a_session_that_fails_leaves_the_messages_of_others_alone() {
    let stage = Stage::new();
    let (mut bad, mut good) = (stage.peer(), stage.peer());
    bad.attach_receiver(0, "q");
    bad.grant(0, 0, 5);
    good.attach_sender(0, "q");
    good.attach_receiver(1, "q");
    good.grant(1, 0, 5);
    bad.send_with(Performative::Transfer(transfer(0)), message("a"));
    assert_eq!(ended(&mut bad), "amqp:session:unattached-handle");
    good.send_with(Performative::Transfer(transfer(0)), message("b"));
    let frames = good.received();
    assert!(
        frames
            .iter()
            .any(|frame| matches!(frame, Performative::Transfer(_))),
        "{frames:#?}"
    );
}

#[test]
fn a_sasl_frame_where_amqp_is_spoken_closes_the_connection() {
    let mut peer = Stage::new().peer();
    peer.engine.on_frame(Frame::Sasl(Bytes::new()));
    assert_eq!(closed(&mut peer), "amqp:illegal-state");
}

#[test]
fn pipelined_frames_are_handled_in_their_order() {
    let stage = Stage::new();
    let (wake, woken) = unbounded_channel();
    let mut peer = Peer {
        engine: Engine::new(Arc::clone(&stage.hub), wake, None),
        woken,
    };
    peer.send(Performative::Open(open(MAX_FRAME_SIZE)));
    peer.send(Performative::Begin(begin(2_048)));
    peer.send(Performative::Attach(attach(0, Role::Sender, "q")));
    peer.send(Performative::Attach(attach(1, Role::Receiver, "q")));
    peer.grant(1, 0, 5);
    peer.send_with(Performative::Transfer(transfer(0)), message("a"));
    let frames = peer.received();
    assert!(
        matches!(frames.last(), Some(Performative::Transfer(_))),
        "{frames:#?}"
    );
}
