//! What requests look like on the wire, and how answers are read.

use super::*;
use crate::error::ErrorClass;
use crate::value::Properties;
use crate::wire::golden;
use time::macros::datetime;

const TOKEN: Uuid = Uuid::from_u128(0xe895_a382_994f_4855_9714_0102_0304_0506);

fn bytes(request: Request) -> Vec<u8> {
    outgoing::encode(request.into_message(Duration::from_secs(15))).unwrap()
}

fn answer(properties: Vec<(&str, Amqp)>, body: Amqp) -> Result<Response, ErrorKind> {
    Response::from_message(outgoing::request(properties, body))
}

fn status(code: i32) -> Vec<(&'static str, Amqp)> {
    vec![("statusCode", Amqp::Int(code))]
}

#[test]
fn requests_are_encoded_as_the_golden_files_say() {
    let dead_letter = Settlement::DeadLetter {
        reason: "rejected".into(),
        description: "no such country".into(),
        properties: Properties::from([("stage".to_owned(), "map".into())]),
    };
    let mut scheduled = golden::full_message();
    scheduled.properties = Properties::new();
    for (name, request) in [
        (
            "update-disposition",
            Request::update_disposition(TOKEN, dead_letter),
        ),
        ("renew-lock", Request::renew_lock(TOKEN)),
        ("peek-message", Request::peek(1 << 40, 100)),
        (
            "schedule-message",
            Request::schedule(vec![scheduled]).unwrap(),
        ),
        (
            "cancel-scheduled-message",
            Request::cancel_scheduled(&[7, 1 << 40]),
        ),
        (
            "receive-by-sequence-number",
            Request::receive_deferred(&[1, 2, 300], ReceiveMode::PeekLock),
        ),
        (
            "renew-session-lock",
            Request::renew_session_lock().within("s", "link"),
        ),
        (
            "get-session-state",
            Request::get_session_state().within("s", "link"),
        ),
        (
            "set-session-state",
            Request::set_session_state(Some("state".into())).within("s", "link"),
        ),
    ] {
        golden::check(name, &bytes(request));
    }
}

#[test]
fn a_token_is_put_as_the_golden_file_says() {
    let message = put_token(
        "sb://contoso.servicebus.windows.net/orders",
        "jwt",
        "t0ken".into(),
        datetime!(2026-11-23 16:00 UTC),
    );
    golden::check("put-token", &outgoing::encode(message).unwrap());
}

#[test]
fn a_message_without_a_time_cannot_be_scheduled() {
    let error = Request::schedule(vec![OutgoingMessage::new("x")]).unwrap_err();
    assert!(matches!(error, ErrorKind::Invalid(_)));
}

#[test]
fn an_answer_is_read_under_the_names_of_either_node() {
    for name in ["statusCode", "status-code"] {
        let response = answer(vec![(name, Amqp::Int(202))], Amqp::Null).unwrap();
        assert!(response.success().is_ok());
    }
    let unreadable = answer(vec![], Amqp::Null);
    assert!(matches!(unreadable, Err(ErrorKind::Protocol(_))));
}

#[test]
fn a_refusal_has_the_brokers_condition_or_one_by_its_status() {
    let mut properties = status(410);
    properties.push((
        "errorCondition",
        Amqp::Symbol("com.microsoft:session-lock-lost".into()),
    ));
    let told = answer(properties, Amqp::Null).unwrap().success();
    assert_eq!(
        told.unwrap_err().to_string(),
        "com.microsoft:session-lock-lost: "
    );
    for (code, class) in [
        (400, ErrorClass::Permanent),
        (401, ErrorClass::Unauthorized),
        (404, ErrorClass::NotFound),
        (408, ErrorClass::Transient),
        (410, ErrorClass::LockLost),
        (500, ErrorClass::Transient),
        (503, ErrorClass::Throttled),
    ] {
        let error = answer(status(code), Amqp::Null).unwrap().success();
        assert_eq!(error.unwrap_err().class(), class, "{code}");
    }
}

#[test]
fn a_peek_that_finds_nothing_is_empty_however_that_is_said() {
    assert_eq!(
        answer(status(204), Amqp::Null).unwrap().peeked().unwrap(),
        []
    );
    let mut not_found = status(404);
    not_found.push((
        "errorCondition",
        Amqp::Symbol("com.microsoft:message-not-found".into()),
    ));
    assert_eq!(answer(not_found, Amqp::Null).unwrap().peeked().unwrap(), []);
    let no_entity = answer(status(404), Amqp::Null).unwrap().peeked();
    assert_eq!(no_entity.unwrap_err().class(), ErrorClass::NotFound);
}

#[test]
fn messages_come_with_their_lock_tokens() {
    let entry = map(vec![
        ("lock-token", Amqp::Uuid((*TOKEN.as_bytes()).into())),
        (
            "message",
            Amqp::Binary(Binary::from(golden::read("delivered"))),
        ),
    ]);
    let body = map(vec![("messages", Amqp::List(vec![entry]))]);
    let messages = answer(status(200), body).unwrap().messages().unwrap();
    assert_eq!(messages[0].lock_token, Some(TOKEN));
    assert_eq!(messages[0].sequence_number, 42);
}

#[test]
fn a_peek_leaves_out_what_cannot_be_read_unless_that_is_all() {
    let entry = |bytes: Vec<u8>| map(vec![("message", Amqp::Binary(Binary::from(bytes)))]);
    let (good, bad) = (golden::read("delivered"), b"\x00\x53\x75".to_vec());
    let peeked = |entries: Vec<Amqp>| {
        let body = map(vec![("messages", Amqp::List(entries))]);
        answer(status(200), body).unwrap().peeked()
    };
    let both = peeked(vec![entry(bad.clone()), entry(good)]).unwrap();
    assert_eq!(both[0].sequence_number, 42);
    assert_eq!(both.len(), 1);
    assert!(peeked(vec![entry(bad)]).is_err());
}

#[test]
fn numbers_and_times_are_read_from_arrays_and_lists() {
    let numbers = vec![Amqp::Long(7), Amqp::Long(8)];
    for numbers in [Amqp::Array(Array(numbers.clone())), Amqp::List(numbers)] {
        let body = map(vec![("sequence-numbers", numbers)]);
        let response = answer(status(200), body).unwrap();
        assert_eq!(response.sequence_numbers().unwrap(), [7, 8]);
    }
    let times = Amqp::Array(Array(vec![Amqp::Timestamp(1_795_446_000_000.into())]));
    let response = answer(status(200), map(vec![("expirations", times)])).unwrap();
    assert_eq!(
        response.expiration().unwrap(),
        datetime!(2026-11-23 15:00 UTC)
    );
    let empty = answer(status(200), Amqp::Null).unwrap().expiration();
    assert!(matches!(empty, Err(ErrorKind::Protocol(_))));
}
