//! Golden files of wire formats, as hexadecimal text in `tests/golden`.

use std::path::PathBuf;
use std::time::Duration;

use time::macros::datetime;
use uuid::Uuid;

use crate::message::OutgoingMessage;
use crate::value::{Properties, Value};

/// A message with every field set.
pub(crate) fn full_message() -> OutgoingMessage {
    OutgoingMessage {
        body: "{\"n\":1}".into(),
        message_id: Some("m-1".into()),
        correlation_id: Some("c-1".into()),
        session_id: Some("s-1".into()),
        partition_key: Some("s-1".into()),
        subject: Some("account".into()),
        content_type: Some("application/json".into()),
        reply_to: Some("answers".into()),
        to: Some("elsewhere".into()),
        time_to_live: Some(Duration::from_secs(3600)),
        scheduled_enqueue_time: Some(datetime!(2026-11-23 15:00:00.25 UTC)),
        properties: Properties::from([
            ("a-bool".to_owned(), Value::Bool(true)),
            ("b-int".to_owned(), Value::Int(3)),
            ("c-long".to_owned(), Value::Long(1 << 40)),
            ("d-double".to_owned(), Value::Double(0.5)),
            ("e-text".to_owned(), Value::from("grün")),
            (
                "f-uuid".to_owned(),
                Value::Uuid(Uuid::from_u128(0x1234_5678)),
            ),
            (
                "g-time".to_owned(),
                Value::Timestamp(datetime!(2026-11-23 15:00 UTC)),
            ),
            ("h-bytes".to_owned(), Value::Binary(vec![0, 255].into())),
            ("i-null".to_owned(), Value::Null),
        ]),
    }
}

/// The bytes of a golden file.
pub(crate) fn read(name: &str) -> Vec<u8> {
    let path = path(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Compares bytes with a golden file; with `UPDATE_GOLDEN` set, writes the file instead.
pub(crate) fn check(name: &str, bytes: &[u8]) {
    let lines: Vec<String> = bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path(name), lines.join("\n") + "\n").unwrap();
    }
    assert_eq!(read(name), bytes, "{name}: {}", lines.join(""));
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"))
}
