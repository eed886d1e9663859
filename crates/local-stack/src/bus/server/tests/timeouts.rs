//! Connections and links that do nothing.

use super::*;
use crate::bus::security::Security;
use crate::bus::timeouts::Timeouts;

/// What the connection was closed with, as soon as time was looked at.
fn closed(peer: &mut Peer) -> Option<(String, String)> {
    peer.engine.on_time();
    match peer.received().pop() {
        Some(Performative::Close(close)) => {
            let error = close.error.unwrap();
            Some((condition(&error), error.description.unwrap()))
        }
        _ => None,
    }
}

#[test]
fn a_connection_without_links_is_closed_after_a_minute_or_five() {
    let stage = Stage::new();
    let mut peer = stage.peer();
    stage.wait(59);
    assert_eq!(closed(&mut peer), None);
    stage.wait(1);
    let (condition, text) = closed(&mut peer).unwrap();
    assert_eq!(condition, "amqp:connection:forced");
    assert!(text.contains("did not have any active links in the past 60000 milliseconds"));

    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer.send(Performative::Detach(
        fe2o3_amqp_types::performatives::Detach {
            handle: Handle(0),
            closed: true,
            error: None,
        },
    ));
    peer.received();
    stage.wait(299);
    assert_eq!(closed(&mut peer), None);
    stage.wait(1);
    let (_, text) = closed(&mut peer).unwrap();
    assert!(text.contains("in the past 300000 milliseconds"), "{text}");
}

#[test]
fn an_idle_link_is_detached_and_its_busy_neighbour_is_not() {
    let stage = Stage::new();
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 5);
    stage.wait(599);
    // A message sent is one received here.
    peer.send_with(Performative::Transfer(transfer(0)), message("a"));
    peer.received();
    peer.attach_receiver(2, "q");
    stage.wait(599);
    peer.grant(1, 1, 5);
    peer.received();
    stage.wait(1);
    peer.engine.on_time();
    let mut detached = peer.received().into_iter().map(|performative| {
        let Performative::Detach(detach) = performative else {
            panic!("{performative:?}")
        };
        let error = detach.error.unwrap();
        assert_eq!(condition(&error), "amqp:link:detach-forced");
        assert!(
            error
                .description
                .unwrap()
                .contains("Idle timeout: 00:10:00")
        );
        detach.handle.0
    });
    assert_eq!(detached.next(), Some(0));
    assert_eq!(detached.next(), Some(2));
    assert_eq!(detached.next(), None);
}

#[test]
fn a_token_must_come_soon_where_tokens_are_looked_at() {
    let stage = Stage::with(|config| config.security = Some(Security::default()));
    let mut peer = stage.peer();
    stage.wait(19);
    assert_eq!(closed(&mut peer), None);
    stage.wait(1);
    let (condition, text) = closed(&mut peer).unwrap();
    assert_eq!(condition, "amqp:connection:forced");
    assert!(text.contains("no token"));
}

#[test]
fn time_outs_may_be_short_and_may_be_off() {
    let stage = Stage::with(|config| {
        config.timeouts = Timeouts {
            first_link: std::time::Duration::from_millis(5),
            idle_link: std::time::Duration::MAX,
            ..Timeouts::default()
        };
    });
    let mut peer = stage.peer();
    let due = peer.engine.next_deadline().unwrap();
    assert_eq!(
        due - *stage.now.lock().unwrap(),
        time::Duration::milliseconds(5)
    );
    peer.attach_sender(0, "q");
    assert_eq!(peer.engine.next_deadline(), None);
    stage.wait(1_000_000);
    peer.engine.on_time();
    assert_eq!(peer.received(), []);
}
