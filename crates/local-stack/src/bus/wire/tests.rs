//! The wire format, pinned: frames that Azure's clients sent must be understood, frames that we send
//! must not change unnoticed.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{ErrorCondition, Handle, ReceiverSettleMode, Role};
use fe2o3_amqp_types::definitions::{SenderSettleMode, SequenceNo};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};
use fe2o3_amqp_types::performatives::{Disposition, Performative, Transfer};
use fe2o3_amqp_types::sasl::{SaslCode, SaslOutcome};
use serde_amqp::Value;
use serde_amqp::primitives::{Binary, Symbol};
use time::macros::datetime;
use uuid::Uuid;

use super::frame::{self, Frame};
use super::{delivery, section, values};
use crate::bus::queue::entry::{Entry, Lock, State};
use crate::bus::queue::message::{BATCH_FORMAT, Message};

/// The frames of a golden file by name.
fn golden(file: &str) -> BTreeMap<String, Vec<u8>> {
    let mut frames = BTreeMap::new();
    let mut name = String::new();
    for line in file.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            comment.clone_into(&mut name);
        } else if !line.is_empty() {
            let bytes: &mut Vec<u8> = frames.entry(name.clone()).or_default();
            let digits: Vec<char> = line.chars().collect();
            bytes.extend(digits.chunks(2).map(|pair| {
                let pair: String = pair.iter().collect();
                u8::from_str_radix(&pair, 16).unwrap()
            }));
        }
    }
    frames
}

fn clients() -> BTreeMap<String, Vec<u8>> {
    golden(include_str!("golden/clients.hex"))
}

fn take(bytes: &[u8]) -> Frame {
    let mut buffer = BytesMut::from(bytes);
    let frame = frame::take(&mut buffer, 65_536).unwrap().unwrap();
    assert!(buffer.is_empty());
    frame
}

fn performative(name: &str) -> (Performative, Bytes) {
    match take(&clients()[name]) {
        Frame::Amqp {
            performative,
            payload,
            ..
        } => (performative, payload),
        other => panic!("{name}: {other:?}"),
    }
}

fn disposition(name: &str) -> Disposition {
    match performative(name) {
        (Performative::Disposition(disposition), _) => disposition,
        other => panic!("{name}: {other:?}"),
    }
}

fn messages(name: &str) -> Vec<Message> {
    match performative(name) {
        (Performative::Transfer(transfer), payload) => {
            let format = transfer.message_format.unwrap_or(0);
            Message::parse_transfer(format, &payload, &mut Uuid::new_v4).unwrap()
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_frame_of_the_official_clients_is_understood() {
    let frames = clients();
    assert!(frames.len() >= 26);
    for (name, bytes) in frames {
        let kind = name.split_whitespace().nth(1).unwrap();
        let Frame::Amqp { performative, .. } = take(&bytes) else {
            panic!("{name}")
        };
        let is_expected = match kind {
            "open" => matches!(performative, Performative::Open(_)),
            "begin" => matches!(performative, Performative::Begin(_)),
            "attach" => matches!(performative, Performative::Attach(_)),
            "flow" => matches!(performative, Performative::Flow(_)),
            "detach" => matches!(performative, Performative::Detach(_)),
            "end" => matches!(performative, Performative::End(_)),
            "close" => matches!(performative, Performative::Close(_)),
            "complete" | "abandon" | "dead-letter" => {
                matches!(performative, Performative::Disposition(_))
            }
            _ => matches!(performative, Performative::Transfer(_)),
        };
        assert!(is_expected, "{name}: {performative:?}");
    }
}

#[test]
fn an_idle_timeout_is_read_where_there_is_one() {
    let idle = |name| match performative(name) {
        (Performative::Open(open), _) => open.idle_time_out,
        other => panic!("{other:?}"),
    };
    assert_eq!(idle("javascript open"), Some(60_000));
    assert_eq!(idle("python open"), None);
}

#[test]
fn peek_lock_receivers_attach_unsettled_and_second() {
    for (name, address) in [
        ("javascript attach receiver", "q1"),
        ("python attach receiver", "amqps://127.0.0.1:5700/q1"),
    ] {
        let (Performative::Attach(attach), _) = performative(name) else {
            panic!("{name}")
        };
        assert_eq!(attach.role, Role::Receiver);
        assert_eq!(attach.snd_settle_mode, SenderSettleMode::Unsettled);
        assert_eq!(attach.rcv_settle_mode, ReceiverSettleMode::Second);
        assert_eq!(attach.source.unwrap().address.as_deref(), Some(address));
    }
}

#[test]
fn a_dead_letter_info_map_with_string_keys_is_read_like_one_with_symbols() {
    for name in ["javascript dead-letter", "python dead-letter"] {
        let Some(DeliveryState::Rejected(rejected)) = disposition(name).state else {
            panic!("{name}")
        };
        let error = rejected.error.unwrap();
        let condition = ErrorCondition::Custom(Symbol::from("com.microsoft:dead-letter"));
        assert_eq!(error.condition, condition);
        let info = error.info.unwrap();
        let get = |key| info.get(&Symbol::from(key)).and_then(values::text);
        assert_eq!(get("DeadLetterReason"), Some("r"), "{name}");
        assert_eq!(get("DeadLetterErrorDescription"), Some("d"), "{name}");
    }
}

#[test]
fn properties_to_modify_come_as_message_annotations() {
    let abandoned = disposition("javascript abandon with properties");
    let Some(DeliveryState::Modified(modified)) = abandoned.state else {
        panic!()
    };
    assert_eq!(modified.undeliverable_here, Some(false));
    let properties = modified.message_annotations.unwrap();
    assert_eq!(
        properties.get(&Symbol::from("x")).and_then(values::integer),
        Some(1)
    );
}

#[test]
fn a_batch_is_taken_apart() {
    for (name, bodies) in [
        ("javascript send batch", [&b"\"b1\""[..], b"\"b2\""]),
        ("python send batch", [b"x0", b"x1"]),
    ] {
        let messages = messages(name);
        let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from_static).collect();
        let sent: Vec<Bytes> = messages
            .iter()
            .map(|message| section::data(&message.body).unwrap())
            .collect();
        assert_eq!(sent, bodies, "{name}");
    }
}

#[test]
fn the_batch_format_is_the_services() {
    for name in ["javascript send batch", "python send batch"] {
        let (Performative::Transfer(transfer), _) = performative(name) else {
            panic!("{name}")
        };
        assert_eq!(transfer.message_format, Some(BATCH_FORMAT));
    }
}

#[test]
fn a_message_that_javascript_sends_without_an_id_gets_one() {
    let message = &messages("javascript send one")[0];
    assert_eq!(message.id.len(), 32);
    assert_eq!(messages("python send one")[0].id.as_ref(), "id-1");
}

#[test]
fn a_coordinator_is_a_link_without_a_target_not_a_broken_frame() {
    // An attach whose target is an empty coordinator list.
    let (Performative::Attach(mut attach), _) = performative("javascript attach sender") else {
        panic!()
    };
    attach.target = None;
    attach.initial_delivery_count = None;
    attach.properties = None;
    let bytes = serde_amqp::to_vec(&attach).unwrap();
    let mut value: Value = serde_amqp::from_slice(&bytes).unwrap();
    let Value::Described(described) = &mut value else {
        panic!()
    };
    let Value::List(fields) = &mut described.value else {
        panic!()
    };
    let coordinator = values::section(0x30, Value::List(Vec::new())).unwrap();
    fields.resize(7, Value::Null);
    fields[6] = serde_amqp::from_slice(&coordinator).unwrap();
    let bytes = serde_amqp::to_vec(&value).unwrap();
    match super::performative::decode(&bytes).unwrap() {
        (Performative::Attach(read), length) => {
            assert_eq!(read.target, None);
            assert_eq!(length, bytes.len());
        }
        other => panic!("{other:?}"),
    }
}

// === what we send ===

fn entry() -> Entry {
    let mut bytes = Vec::new();
    let id = Value::List(vec![Value::String("id-1".into())]);
    bytes.extend(values::section(section::PROPERTIES, id).unwrap());
    let body = Value::Binary(Binary::from(b"body".to_vec()));
    bytes.extend(values::section(section::DATA, body).unwrap());
    Entry {
        message: Message::parse(&Bytes::from(bytes), &mut Uuid::new_v4).unwrap(),
        sequence: 7,
        enqueued_sequence: 3,
        enqueued_at: datetime!(2026-01-05 08:00 UTC),
        delivery_count: 2,
        state: State::Active,
        lock: Some(Lock {
            token: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            until: datetime!(2026-01-05 08:01 UTC),
        }),
        due_at: None,
        expires_at: None,
    }
}

fn transfer(delivery_id: Option<SequenceNo>, tag: Option<Binary>) -> Transfer {
    Transfer {
        handle: Handle(1),
        delivery_id,
        delivery_tag: tag,
        message_format: delivery_id.map(|_| 0),
        settled: delivery_id.map(|_| false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

#[test]
fn what_we_send_has_not_changed() {
    let mut out = BytesMut::new();
    let mut sent: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut note = |name, out: &mut BytesMut| sent.push((name, out.split().to_vec()));

    frame::put_heartbeat(&mut out);
    note("heartbeat", &mut out);
    let outcome = SaslOutcome {
        code: SaslCode::Ok,
        additional_data: None,
    };
    frame::put_sasl(&mut out, &outcome).unwrap();
    note("sasl outcome", &mut out);
    let accepted = Disposition {
        role: Role::Receiver,
        first: 5,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted(Accepted {})),
        batchable: false,
    };
    frame::put(&mut out, 2, &accepted).unwrap();
    note("disposition accepted", &mut out);
    let entry = entry();
    let tag = Binary::from(entry.lock.unwrap().token.to_bytes_le().to_vec());
    let mut message = delivery::encode(&entry).unwrap();
    let mut transfer = transfer(Some(9), Some(tag));
    frame::put_transfer(&mut out, 2, &mut transfer, &mut message, 65_536).unwrap();
    note("transfer of a locked message", &mut out);

    let rendered: Vec<String> = sent
        .into_iter()
        .map(|(name, bytes)| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("# {name}\n{hex}\n")
        })
        .collect();
    assert_eq!(rendered.join("\n"), include_str!("golden/broker.hex"));
}

#[test]
fn a_message_larger_than_a_frame_is_split_and_joined_without_loss() {
    let whole = Bytes::from((0..=255).cycle().take(1_500).collect::<Vec<u8>>());
    let mut out = BytesMut::new();
    let mut rest = whole.clone();
    let mut next = transfer(Some(9), Some(Binary::from(vec![1; 16])));
    loop {
        let before = out.len();
        frame::put_transfer(&mut out, 2, &mut next, &mut rest, 512).unwrap();
        assert!(out.len() - before <= 512);
        if !next.more {
            break;
        }
        next = transfer(None, None);
    }
    let mut joined = Vec::new();
    let mut more = Vec::new();
    while let Some(frame) = frame::take(&mut out, 512).unwrap() {
        let Frame::Amqp {
            performative: Performative::Transfer(transfer),
            payload,
            ..
        } = frame
        else {
            panic!()
        };
        more.push(transfer.more);
        joined.extend_from_slice(&payload);
    }
    assert_eq!(joined, whole);
    assert_eq!(more, [true, true, true, false]);
}

#[test]
fn a_message_that_just_fits_needs_one_frame() {
    for length in 440..480 {
        let whole = Bytes::from(vec![7; length]);
        let mut out = BytesMut::new();
        let mut rest = whole.clone();
        let mut only = transfer(Some(9), Some(Binary::from(vec![1; 16])));
        frame::put_transfer(&mut out, 2, &mut only, &mut rest, 512).unwrap();
        assert_eq!(only.more, !rest.is_empty());
        let frame = frame::take(&mut out, 512).unwrap().unwrap();
        let Frame::Amqp {
            performative: Performative::Transfer(read),
            payload,
            ..
        } = frame
        else {
            panic!()
        };
        assert_eq!(read.more, payload.len() < length);
        assert_eq!(payload.len() + rest.len(), length);
    }
}

#[test]
fn half_a_frame_is_waited_for() {
    let bytes = &clients()["javascript dead-letter"];
    for end in 0..bytes.len() {
        let mut buffer = BytesMut::from(&bytes[..end]);
        assert_eq!(frame::take(&mut buffer, 65_536), Ok(None));
        assert_eq!(buffer.len(), end);
    }
}

#[test]
fn impossible_frames_are_refused() {
    let refused = |bytes: &[u8]| frame::take(&mut BytesMut::from(bytes), 65_536).is_err();
    assert!(
        refused(&[0, 0, 0, 7, 2, 0, 0, 0]),
        "shorter than its header"
    );
    assert!(refused(&[0, 1, 0, 1, 2, 0, 0, 0]), "longer than we take");
    assert!(refused(&[0, 0, 0, 8, 1, 0, 0, 0]), "body inside the header");
    assert!(refused(&[0, 0, 0, 8, 3, 0, 0, 0]), "body behind the end");
    assert!(refused(&[0, 0, 0, 8, 2, 9, 0, 0]), "unknown type");
    assert!(refused(&[0, 0, 0, 9, 2, 0, 0, 0, 0x40]), "no performative");
}

#[test]
fn a_timestamp_for_a_key_is_refused_before_the_encoder_stumbles_over_it() {
    // Found by fuzzing: the key "version" of an open, one bit changed.
    let mut open = clients()["javascript open"].clone();
    let key = open
        .windows(9)
        .position(|bytes| bytes == b"\xa3\x07version");
    open[key.unwrap()] = 0x83;
    let refused = frame::take(&mut BytesMut::from(&open[..]), 65_536).unwrap_err();
    assert!(refused.to_string().contains("key"), "{refused}");
}

#[test]
fn no_mangled_client_frame_panics() {
    // Every byte of every frame changed in several ways; a panic would end a connection's task.
    for bytes in clients().values() {
        for index in 8..bytes.len() {
            for change in [0x00, 0x01, 0x40, 0x7f, 0x80, 0xff] {
                let mut mangled = bytes.clone();
                mangled[index] ^= change;
                let taken = frame::take(&mut BytesMut::from(&mangled[..]), 65_536);
                if let Ok(Some(Frame::Amqp {
                    performative: Performative::Transfer(transfer),
                    payload,
                    ..
                })) = taken
                {
                    let format = transfer.message_format.unwrap_or(0);
                    let _ = Message::parse_transfer(format, &payload, &mut Uuid::new_v4);
                }
            }
        }
    }
}
