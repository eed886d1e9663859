//! Splits an encoded message into its sections without decoding the body.
//! Section order and descriptors: OASIS AMQP 1.0, part 3.2.

use amqp_walk::measure;
use bytes::Bytes;

use super::Malformed;

pub(crate) const HEADER: u64 = 0x70;
pub(crate) const DELIVERY_ANNOTATIONS: u64 = 0x71;
pub(crate) const MESSAGE_ANNOTATIONS: u64 = 0x72;
pub(crate) const PROPERTIES: u64 = 0x73;
pub(crate) const APPLICATION_PROPERTIES: u64 = 0x74;
pub(crate) const DATA: u64 = 0x75;
pub(crate) const SEQUENCE: u64 = 0x76;
pub(crate) const VALUE: u64 = 0x77;
pub(crate) const FOOTER: u64 = 0x78;

/// A message cut at its section borders. Each section keeps its descriptor; absent ones are empty.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sections {
    pub(crate) header: Bytes,
    pub(crate) message_annotations: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) application_properties: Bytes,
    /// Body sections and footer, byte for byte as they came.
    pub(crate) body: Bytes,
}

/// Cuts `message` at its section borders.
///
/// # Errors
/// When a section is malformed, unknown or repeated where it may not be.
pub(crate) fn split(message: &Bytes) -> Result<Sections, Malformed> {
    let mut sections = Sections::default();
    let mut rest = message.clone();
    while !rest.is_empty() {
        let length = measure(&rest)?;
        let code = descriptor(&rest)?;
        let slot = match code {
            HEADER => &mut sections.header,
            DELIVERY_ANNOTATIONS => {
                // Meant for this hop only.
                rest = rest.slice(length..);
                continue;
            }
            MESSAGE_ANNOTATIONS => &mut sections.message_annotations,
            PROPERTIES => &mut sections.properties,
            APPLICATION_PROPERTIES => &mut sections.application_properties,
            DATA | SEQUENCE | VALUE | FOOTER => {
                check_body(&rest)?;
                sections.body = rest;
                return Ok(sections);
            }
            code => return Err(Malformed(format!("message section {code:#04x}"))),
        };
        if !slot.is_empty() {
            return Err(Malformed(format!("message section {code:#04x} twice")));
        }
        *slot = rest.split_to(length);
    }
    Ok(sections)
}

/// The sections of `bytes` one by one: descriptor code and encoded section.
pub(crate) fn iter(bytes: &Bytes) -> impl Iterator<Item = Result<(u64, Bytes), Malformed>> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = measure(&rest)
            .map_err(Malformed::from)
            .and_then(|length| Ok((descriptor(&rest)?, length)));
        Some(match next {
            Ok((code, length)) => Ok((code, rest.split_to(length))),
            Err(error) => {
                rest.clear();
                Err(error)
            }
        })
    })
}

/// The bytes inside a data section, shared with it.
///
/// # Errors
/// When the section does not hold binary.
pub(crate) fn data(section: &Bytes) -> Result<Bytes, Malformed> {
    let offset = 1 + measure(&section[1..])?;
    let start = match section.get(offset) {
        Some(0xa0) => offset + 2,
        Some(0xb0) => offset + 5,
        _ => return Err("data section without binary".into()),
    };
    Ok(section.slice(start..))
}

fn check_body(body: &Bytes) -> Result<(), Malformed> {
    for section in iter(body) {
        let (code, _) = section?;
        if !(DATA..=FOOTER).contains(&code) {
            return Err(Malformed(format!(
                "message section {code:#04x} after the body"
            )));
        }
    }
    Ok(())
}

fn descriptor(section: &[u8]) -> Result<u64, Malformed> {
    match section {
        [0x00, 0x53, code, ..] => Ok(u64::from(*code)),
        [0x00, 0x80, a, b, c, d, e, f, g, h, ..] => {
            Ok(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        [0x00, 0xa3, length, name @ ..] => {
            match name.get(..usize::from(*length)).unwrap_or_default() {
                b"amqp:header:list" => Ok(HEADER),
                b"amqp:delivery-annotations:map" => Ok(DELIVERY_ANNOTATIONS),
                b"amqp:message-annotations:map" => Ok(MESSAGE_ANNOTATIONS),
                b"amqp:properties:list" => Ok(PROPERTIES),
                b"amqp:application-properties:map" => Ok(APPLICATION_PROPERTIES),
                b"amqp:data:binary" => Ok(DATA),
                b"amqp:amqp-sequence:list" => Ok(SEQUENCE),
                b"amqp:amqp-value:*" => Ok(VALUE),
                b"amqp:footer:map" => Ok(FOOTER),
                _ => Err("message section with an unknown name".into()),
            }
        }
        _ => Err("message section without a descriptor".into()),
    }
}
