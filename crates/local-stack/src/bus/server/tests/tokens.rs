//! Tokens, where the broker looks at them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fe2o3_amqp_types::messaging::Accepted;
use fe2o3_amqp_types::performatives::Detach;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::management::{Answer, operate, request_with};
use super::*;
use crate::bus::fault::{Fault, Operation, Script};
use crate::bus::security::{AuthorizationRule, Rights, Security};
use crate::bus::topic::TopicConfig;

const ACCEPTED: DeliveryState = DeliveryState::Accepted(Accepted {});

/// Verifies tokens; key `listener` may only listen, key `sender` only send.
fn stage() -> Stage {
    Stage::with(|config| {
        let mut security = Security::default();
        for (name, rights) in [("listener", Rights::LISTEN), ("sender", Rights::SEND)] {
            security.rules.push(AuthorizationRule {
                name: name.to_owned(),
                keys: vec!["k".to_owned()],
                rights,
                entity: None,
            });
        }
        config.security = Some(security);
    })
}

/// A shared access signature for `sb://h/q` that is good for so many seconds.
fn token(stage: &Stage, name: &str, key: &str, seconds: i64) -> String {
    let expiry = stage.now.lock().unwrap().unix_timestamp() + seconds;
    let resource = "sb%3A%2F%2Fh%2Fq";
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{resource}\n{expiry}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature.replace('+', "%2B").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={name}")
}

/// A peer with links to `$cbs` on handles 10 and 11.
fn peer(stage: &Stage) -> Peer {
    let mut peer = stage.peer();
    peer.attach_sender(10, "$cbs");
    peer.attach_receiver(11, "$cbs");
    peer.grant(11, 0, 100);
    peer
}

/// Puts a token; the answer's status and description.
fn put(peer: &mut Peer, delivery_id: SequenceNo, token: &str) -> (i64, String) {
    put_for(peer, "sb://h/q", delivery_id, token)
}

fn put_for(peer: &mut Peer, audience: &str, delivery_id: SequenceNo, token: &str) -> (i64, String) {
    let properties = [
        ("operation", Value::String("put-token".into())),
        (
            "type",
            Value::String("servicebus.windows.net:sastoken".into()),
        ),
        ("name", Value::String(audience.into())),
    ];
    let request = request_with(Value::Ulong(1), properties, Value::String(token.into()));
    let transfer = Transfer {
        handle: Handle(10),
        ..transfer(delivery_id)
    };
    peer.send_with(Performative::Transfer(transfer), request);
    let frames = peer.received_with();
    let answer = Answer::read(&frames[1].1);
    let status = values::get(&answer.properties, "status-code").and_then(values::integer);
    let text = values::get(&answer.properties, "status-description").and_then(values::text);
    (status.unwrap(), text.unwrap().to_owned())
}

#[test]
fn a_token_for_an_entity_that_is_not_there_is_refused_with_404() {
    let stage = Stage::with(|config| {
        let topic = TopicConfig::with_subscriptions("t", ["s"]);
        config.topics.push(topic);
    });
    let mut peer = peer(&stage);
    let token = token(&stage, "anybody", "k", 60);
    let found = |audience: &str| {
        let mut peer = self::peer(&stage);
        put_for(&mut peer, audience, 0, &token).0
    };
    let (status, text) = put_for(&mut peer, "sb://h/typo/$management", 0, &token);
    assert_eq!(status, 404);
    let expected = "The messaging entity 'sb://local-service-bus/typo' could not be found.";
    assert!(text.starts_with(expected), "{text}");
    for audience in [
        "sb://h/Q",
        "sb://h/q/$DeadLetterQueue",
        "sb://h/",
        "sb://h/t/Subscriptions/s/$management",
        // It is found out when a link is attached.
        "sb://h/t/Subscriptions/none",
    ] {
        assert_eq!(found(audience), 202, "{audience}");
    }
    assert_eq!(found("sb://h/none/Subscriptions/s"), 404);
}

#[test]
fn who_has_no_good_token_does_not_learn_what_is_there() {
    let stage = stage();
    let mut peer = peer(&stage);
    let bad = token(&stage, "listener", "another key", 60);
    assert_eq!(put_for(&mut peer, "sb://h/typo", 0, &bad).0, 401);
}

/// Attaches a link; the condition and description of the refusal, if it is refused.
fn try_attach(peer: &mut Peer, handle: u32, role: Role, address: &str) -> Option<String> {
    peer.send(Performative::Attach(attach(handle, role, address)));
    match peer.received().get(1) {
        Some(Performative::Detach(Detach {
            error: Some(error), ..
        })) => {
            assert_eq!(condition(error), "amqp:unauthorized-access");
            error.description.clone()
        }
        _ => None,
    }
}

#[test]
fn without_a_token_no_link_is_attached() {
    let stage = stage();
    let mut peer = peer(&stage);
    let refused = try_attach(&mut peer, 0, Role::Sender, "q").unwrap();
    assert_eq!(
        refused,
        "Unauthorized access. 'Send' claim(s) are required to perform this operation. \
         Resource: 'sb://local-service-bus/q'."
    );
    let refused = try_attach(&mut peer, 1, Role::Receiver, "q/$DeadLetterQueue").unwrap();
    assert!(refused.contains("'Listen' claim(s)"));
    assert!(try_attach(&mut peer, 2, Role::Sender, "q/$management").is_some());
}

#[test]
fn a_refused_token_is_answered_with_the_services_words() {
    let stage = stage();
    let mut peer = peer(&stage);
    let wrong = token(&stage, "RootManageSharedAccessKey", "wrong", 60);
    let (status, text) = put(&mut peer, 0, &wrong);
    assert_eq!(status, 401);
    assert_eq!(
        text,
        "InvalidSignature: The token has an invalid signature."
    );
    let old = token(&stage, "RootManageSharedAccessKey", "local", 0);
    let (status, text) = put(&mut peer, 1, &old);
    assert_eq!(status, 401);
    assert!(text.starts_with("ExpiredToken: The token is expired."));
}

#[test]
fn a_key_allows_what_its_rights_say() {
    let stage = stage();
    let mut listener = peer(&stage);
    let token_ = token(&stage, "listener", "k", 60);
    assert_eq!(put(&mut listener, 0, &token_).0, 202);
    assert!(try_attach(&mut listener, 1, Role::Receiver, "q").is_none());
    assert!(try_attach(&mut listener, 2, Role::Sender, "q").is_some());
    // Management is open to either, its requests are not.
    let mut sender = peer(&stage);
    assert_eq!(
        put(&mut sender, 0, &token(&stage, "sender", "k", 60)).0,
        202
    );
    sender.attach_sender(0, "q/$management");
    sender.attach_receiver(1, "q/$management");
    sender.grant(1, 0, 10);
    let peek = [
        ("from-sequence-number", Value::Long(1)),
        ("message-count", Value::Int(1)),
    ];
    let answer = operate(&mut sender, 1, "peek-message", peek);
    assert_eq!(answer.status(), 401);
    let cancel = [(
        "sequence-numbers",
        Value::Array(vec![Value::Long(9)].into()),
    )];
    let answer = operate(&mut sender, 2, "cancel-scheduled-message", cancel);
    assert_eq!(answer.status(), 404);
}

#[test]
fn links_are_dropped_when_their_token_expires_unless_it_was_renewed() {
    let stage = stage();
    let mut peer = peer(&stage);
    let name = "RootManageSharedAccessKey";
    put(&mut peer, 0, &token(&stage, name, "local", 60));
    peer.attach_sender(0, "q");
    put(&mut peer, 1, &token(&stage, name, "local", 100));
    stage.wait(60);
    peer.engine.on_time();
    assert_eq!(peer.received(), []);
    assert_eq!(peer.send_message(2, "a"), ACCEPTED);
    stage.wait(40);
    peer.engine.on_time();
    let Performative::Detach(detach) = peer.only() else {
        panic!()
    };
    assert_eq!(detach.handle, Handle(0));
    assert_eq!(
        condition(&detach.error.unwrap()),
        "amqp:unauthorized-access"
    );
    assert!(try_attach(&mut peer, 1, Role::Sender, "q").is_some());
    put(&mut peer, 3, &token(&stage, name, "local", 60));
    assert!(try_attach(&mut peer, 2, Role::Sender, "q").is_none());
}

#[test]
fn a_token_is_refused_on_demand_also_where_nobody_looks_at_tokens() {
    let stage = Stage::new();
    let mut peer = peer(&stage);
    let script = Script::once(Fault::refuse("amqp:unauthorized-access"));
    stage.hub.faults.add(script.on(Operation::PutToken, "q"));
    assert_eq!(put(&mut peer, 0, "a.jwt").0, 401);
    assert_eq!(put(&mut peer, 1, "a.jwt").0, 202);
}
