//! `$cbs` and `$management`.

use serde_amqp::primitives::Array;
use time::Duration;

use super::*;

/// A peer with a request link on handle 0 and a reply link on handle 1.
pub(super) fn requester(stage: &Stage, node: &str) -> Peer {
    let mut peer = stage.peer();
    peer.attach_sender(0, node);
    peer.attach_receiver(1, node);
    peer.grant(1, 0, 100);
    assert_eq!(peer.received(), []);
    peer
}

pub(super) fn request(message_id: Value, operation: &str, body: Value) -> Bytes {
    let properties = [("operation", Value::String(operation.to_owned()))];
    request_with(message_id, properties, body)
}

pub(super) fn request_with(
    message_id: Value,
    properties: impl IntoIterator<Item = (&'static str, Value)>,
    body: Value,
) -> Bytes {
    let fields = Value::List(vec![message_id]);
    let mut bytes = values::section(section::PROPERTIES, fields).unwrap();
    let properties = Value::Map(map(properties));
    bytes.extend(values::section(section::APPLICATION_PROPERTIES, properties).unwrap());
    bytes.extend(values::section(section::VALUE, body).unwrap());
    Bytes::from(bytes)
}

/// An answer: correlation id, application properties, body.
pub(super) struct Answer {
    pub(super) correlation_id: Value,
    pub(super) properties: Map,
    body: Value,
}

impl Answer {
    pub(super) fn read(message: &Bytes) -> Self {
        let sections = section::split(message).unwrap();
        let Value::List(mut fields) = values::section_value(&sections.properties).unwrap() else {
            panic!()
        };
        Answer {
            correlation_id: fields.remove(5),
            properties: values::section_map(&sections.application_properties).unwrap(),
            body: values::section_value(&sections.body).unwrap(),
        }
    }

    pub(super) fn status(&self) -> i64 {
        values::get(&self.properties, "statusCode")
            .and_then(values::integer)
            .unwrap()
    }

    pub(super) fn condition(&self) -> Option<&Value> {
        values::get(&self.properties, "errorCondition")
    }

    pub(super) fn member(&self, name: &str) -> Value {
        let Value::Map(map) = &self.body else {
            panic!("{:?}", self.body)
        };
        values::get(map, name).unwrap().clone()
    }
}

fn ask(peer: &mut Peer, delivery_id: SequenceNo, message: Bytes) -> Answer {
    peer.send_with(Performative::Transfer(transfer(delivery_id)), message);
    let frames = peer.received_with();
    assert_eq!(frames.len(), 2, "{frames:#?}");
    let (Performative::Disposition(accepted), _) = &frames[0] else {
        panic!()
    };
    assert!(accepted.settled);
    let (Performative::Transfer(reply), payload) = &frames[1] else {
        panic!()
    };
    assert_eq!(reply.handle, Handle(1));
    Answer::read(payload)
}

pub(super) fn operate(
    peer: &mut Peer,
    delivery_id: SequenceNo,
    operation: &str,
    body: impl IntoIterator<Item = (&'static str, Value)>,
) -> Answer {
    operate_with(peer, delivery_id, operation, [], body)
}

/// The same with further application properties.
pub(super) fn operate_with(
    peer: &mut Peer,
    delivery_id: SequenceNo,
    operation: &str,
    properties: impl IntoIterator<Item = (&'static str, Value)>,
    body: impl IntoIterator<Item = (&'static str, Value)>,
) -> Answer {
    let operation = format!("com.microsoft:{operation}");
    let properties = properties.into_iter();
    let properties = properties.chain([("operation", Value::String(operation))]);
    let body = Value::Map(map(body));
    ask(
        peer,
        delivery_id,
        request_with(Value::Ulong(1), properties, body),
    )
}

/// Puts a message into `q` and locks it; its token.
pub(super) fn lock(stage: &Stage) -> Uuid {
    let mut peer = stage.peer();
    peer.attach_sender(0, "q");
    peer.send_message(0, "a");
    peer.attach_receiver(1, "q");
    peer.grant(1, 0, 1);
    peer.deliveries()[0].1
}

fn tokens(token: Uuid) -> Value {
    Value::Array(Array::from(vec![values::uuid(token)]))
}

fn put_token(kind: &str, token: &str) -> Bytes {
    let properties = [
        ("operation", Value::String("put-token".into())),
        ("type", Value::String(kind.to_owned())),
        ("name", Value::String("sb://ns/q".into())),
    ];
    request_with(Value::Ulong(1), properties, Value::String(token.to_owned()))
}

#[test]
fn tokens_are_accepted_when_they_are_well_formed() {
    let mut peer = requester(&Stage::new(), "$cbs");
    let sas = "SharedAccessSignature sr=a&sig=b&se=1&skn=c";
    for (delivery_id, (kind, token, expected)) in [
        ("servicebus.windows.net:sastoken", sas, 202),
        // What Python calls it.
        ("jwt", sas, 202),
        ("jwt", "e30.e30.sig", 202),
        ("jwt", "", 401),
        (
            "servicebus.windows.net:sastoken",
            "SharedAccessSignature sr=a&sig=b",
            401,
        ),
        ("other", sas, 400),
    ]
    .into_iter()
    .enumerate()
    {
        let delivery_id = u32::try_from(delivery_id).unwrap();
        let answer = ask(&mut peer, delivery_id, put_token(kind, token));
        let status = values::get(&answer.properties, "status-code").unwrap();
        assert_eq!(*status, Value::Int(expected), "{kind} {token}");
    }
}

#[test]
fn the_message_id_comes_back_in_the_type_it_had() {
    let mut peer = requester(&Stage::new(), "q/$management");
    let ids = [
        Value::String("id".into()),
        values::uuid(Uuid::from_u128(5)),
        Value::Ulong(9),
        Value::Binary(Binary::from(vec![1, 2])),
    ];
    for (delivery_id, id) in (0..).zip(ids) {
        let message = request(id.clone(), "com.microsoft:peek-message", Value::Null);
        assert_eq!(ask(&mut peer, delivery_id, message).correlation_id, id);
    }
}

#[test]
fn answers_go_to_the_link_whose_address_the_request_names() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "q/$management");
    for handle in [1, 2, 3] {
        peer.attach_receiver(handle, "q/$management");
        peer.grant(handle, 0, 10);
    }
    let reply_to = |address: &str| {
        let null = Value::Null;
        let address = Value::String(address.to_owned());
        let fields = vec![Value::Ulong(1), null.clone(), null.clone(), null, address];
        let mut bytes = values::section(section::PROPERTIES, Value::List(fields)).unwrap();
        bytes.extend(values::section(section::VALUE, Value::Null).unwrap());
        Bytes::from(bytes)
    };
    let mut answered = |delivery_id, address: &str| {
        peer.send_with(
            Performative::Transfer(transfer(delivery_id)),
            reply_to(address),
        );
        match &peer.received()[1] {
            Performative::Transfer(reply) => reply.handle.0,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answered(0, "link-2"), 2);
    assert_eq!(answered(1, "link-3"), 3);
    // Python names the node itself, which is nobody's address.
    assert_eq!(answered(2, "q/$management"), 1);
}

#[test]
fn an_answer_waits_for_credit() {
    let mut peer = Stage::new().peer();
    peer.attach_sender(0, "$cbs");
    peer.attach_receiver(1, "$cbs");
    peer.send_with(
        Performative::Transfer(transfer(0)),
        put_token("jwt", "token"),
    );
    assert!(matches!(peer.only(), Performative::Disposition(_)));
    peer.grant(1, 0, 1);
    assert!(matches!(peer.only(), Performative::Transfer(_)));
}

#[test]
fn an_unknown_operation_is_refused_by_name() {
    let mut peer = requester(&Stage::new(), "q/$management");
    let answer = operate(&mut peer, 0, "undo", []);
    assert_eq!(answer.status(), 501);
    assert_eq!(
        answer.condition(),
        Some(&values::symbol("amqp:not-implemented"))
    );
}

#[test]
fn a_lock_is_settled_by_its_token_from_any_connection() {
    let stage = Stage::new();
    let token = lock(&stage);
    let mut peer = requester(&stage, "q/$management");
    let suspend = |token| {
        [
            ("lock-tokens", tokens(token)),
            ("disposition-status", Value::String("suspended".into())),
            ("deadletter-reason", Value::String("Invalid".into())),
            (
                "deadletter-description",
                Value::String("no such thing".into()),
            ),
        ]
    };
    assert_eq!(
        operate(&mut peer, 0, "update-disposition", suspend(token)).status(),
        200
    );
    let again = operate(&mut peer, 1, "update-disposition", suspend(token));
    assert_eq!(again.status(), 410);
    assert_eq!(
        again.condition(),
        Some(&values::symbol("com.microsoft:message-lock-lost"))
    );
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!((counts.locked, counts.dead_letter), (0, 1));
}

#[test]
fn every_disposition_status_has_its_effect() {
    for (status, expected) in [
        ("completed", (0, 0, 0)),
        ("abandoned", (1, 0, 0)),
        ("defered", (0, 1, 0)),
        ("suspended", (0, 0, 1)),
    ] {
        let stage = Stage::new();
        let token = lock(&stage);
        let mut peer = requester(&stage, "q/$management");
        let body = [
            ("lock-tokens", tokens(token)),
            ("disposition-status", Value::String(status.into())),
        ];
        assert_eq!(
            operate(&mut peer, 0, "update-disposition", body).status(),
            200
        );
        let counts = stage
            .hub
            .entity("q")
            .unwrap()
            .with(|queue, _| queue.counts());
        assert_eq!(
            (counts.active, counts.deferred, counts.dead_letter),
            expected,
            "{status}"
        );
    }
}

#[test]
fn renewing_tells_the_new_end_or_that_the_lock_is_lost() {
    let stage = Stage::new();
    let token = lock(&stage);
    let mut peer = requester(&stage, "q/$management");
    stage.wait(30);
    let answer = operate(&mut peer, 0, "renew-lock", [("lock-tokens", tokens(token))]);
    let end = *stage.now.lock().unwrap() + Duration::seconds(60);
    assert_eq!(
        values::elements(&answer.member("expirations")),
        [values::timestamp(end)]
    );
    stage.wait(60);
    let answer = operate(&mut peer, 1, "renew-lock", [("lock-tokens", tokens(token))]);
    assert_eq!(answer.status(), 410);
}

pub(super) fn scheduled(id: &str, due: OffsetDateTime) -> Value {
    let mut annotations = Map::new();
    annotations.insert(
        values::symbol("x-opt-scheduled-enqueue-time"),
        values::timestamp(due),
    );
    let mut bytes = values::section(section::MESSAGE_ANNOTATIONS, Value::Map(annotations)).unwrap();
    bytes.extend_from_slice(&message(id));
    Value::Map(map([("message", Value::Binary(Binary::from(bytes)))]))
}

#[test]
fn scheduled_messages_get_numbers_by_which_they_are_cancelled() {
    let stage = Stage::new();
    let mut peer = requester(&stage, "q/$management");
    let due = *stage.now.lock().unwrap() + Duration::seconds(60);
    let messages = Value::List(vec![scheduled("a", due), scheduled("b", due)]);
    let answer = operate(&mut peer, 0, "schedule-message", [("messages", messages)]);
    let numbers = answer.member("sequence-numbers");
    assert_eq!(values::elements(&numbers), [Value::Long(1), Value::Long(2)]);

    let cancel = [("sequence-numbers", numbers)];
    let answer = operate(&mut peer, 1, "cancel-scheduled-message", cancel.clone());
    assert_eq!(answer.status(), 200);
    let answer = operate(&mut peer, 2, "cancel-scheduled-message", cancel);
    assert_eq!(answer.status(), 404);
    assert_eq!(
        answer.condition(),
        Some(&values::symbol("com.microsoft:message-not-found"))
    );
}

#[test]
fn scheduling_is_all_or_nothing() {
    let stage = Stage::new();
    let mut peer = requester(&stage, "q/$management");
    let due = *stage.now.lock().unwrap() + Duration::seconds(60);
    let without_time = map([(
        "message",
        Value::Binary(Binary::from(message("b").to_vec())),
    )]);
    let messages = Value::List(vec![scheduled("a", due), Value::Map(without_time)]);
    let answer = operate(&mut peer, 0, "schedule-message", [("messages", messages)]);
    assert_eq!(answer.status(), 400);
    let counts = stage
        .hub
        .entity("q")
        .unwrap()
        .with(|queue, _| queue.counts());
    assert_eq!(counts.scheduled, 0);
}

#[test]
fn a_peek_at_nothing_says_so() {
    let stage = Stage::new();
    let mut peer = requester(&stage, "q/$management");
    let body = [
        ("from-sequence-number", Value::Long(0)),
        ("message-count", Value::Int(10)),
    ];
    assert_eq!(
        operate(&mut peer, 0, "peek-message", body.clone()).status(),
        204
    );
    lock(&stage);
    let answer = operate(&mut peer, 1, "peek-message", body);
    assert_eq!(answer.status(), 200);
    assert_eq!(values::elements(&answer.member("messages")).len(), 1);
}

#[test]
fn a_deferred_message_is_received_with_a_new_lock() {
    let stage = Stage::new();
    let token = lock(&stage);
    let mut peer = requester(&stage, "q/$management");
    let defer = [
        ("lock-tokens", tokens(token)),
        ("disposition-status", Value::String("defered".into())),
    ];
    operate(&mut peer, 0, "update-disposition", defer);
    let receive = [
        (
            "sequence-numbers",
            Value::Array(Array::from(vec![Value::Long(1)])),
        ),
        ("receiver-settle-mode", Value::Uint(1)),
    ];
    let answer = operate(&mut peer, 1, "receive-by-sequence-number", receive.clone());
    let messages = values::elements(&answer.member("messages"));
    let Value::Map(received) = &messages[0] else {
        panic!()
    };
    let new_token = values::get(received, "lock-token")
        .and_then(values::as_uuid)
        .unwrap();
    assert_ne!(new_token, token);
    // Locked now.
    let answer = operate(&mut peer, 2, "receive-by-sequence-number", receive);
    assert_eq!(answer.status(), 404);
}

#[test]
fn a_request_that_lacks_what_it_needs_is_told_what() {
    let mut peer = requester(&Stage::new(), "q/$management");
    let answer = operate(&mut peer, 0, "renew-lock", []);
    assert_eq!(answer.status(), 400);
    let description = values::get(&answer.properties, "statusDescription");
    assert!(
        values::text(description.unwrap())
            .unwrap()
            .contains("'lock-tokens'")
    );
}
