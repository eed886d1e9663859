//! Frames: the eight bytes in front of every performative (OASIS AMQP 1.0, part 2.3).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fe2o3_amqp_types::performatives::{Performative, Transfer};
use serde::Serialize;

use super::{Malformed, performative};

/// Bytes in front of a frame's body.
const HEADER: usize = 8;
const AMQP: u8 = 0x00;
const SASL: u8 = 0x01;

/// One frame from the peer.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "frames are handled one by one and never stored"
)]
pub(crate) enum Frame {
    /// An empty frame, which only says that the peer is alive.
    Heartbeat,
    /// A performative, and for a transfer the message bytes behind it.
    Amqp {
        channel: u16,
        performative: Performative,
        payload: Bytes,
    },
    /// A frame of the SASL layer; its body, undecoded.
    Sasl(Bytes),
}

/// Takes the next whole frame out of `buffer`, or `None` until more bytes have come.
///
/// # Errors
/// When the frame is larger than `max_size`, or its header or performative is malformed.
pub(crate) fn take(buffer: &mut BytesMut, max_size: usize) -> Result<Option<Frame>, Malformed> {
    let Some(size) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size) as usize;
    if !(HEADER..=max_size).contains(&size) {
        return Err(Malformed(format!("frame of {size} bytes")));
    }
    if buffer.len() < size {
        return Ok(None);
    }
    let mut frame = buffer.split_to(size).freeze();
    let body_offset = usize::from(frame[4]) * 4;
    let kind = frame[5];
    let channel = u16::from_be_bytes([frame[6], frame[7]]);
    if !(HEADER..=size).contains(&body_offset) {
        return Err("frame with an impossible data offset".into());
    }
    frame.advance(body_offset);
    match kind {
        AMQP if frame.is_empty() => Ok(Some(Frame::Heartbeat)),
        AMQP => {
            let (performative, length) = performative::decode(&frame)?;
            let payload = frame.split_off(length);
            Ok(Some(Frame::Amqp {
                channel,
                performative,
                payload,
            }))
        }
        SASL => Ok(Some(Frame::Sasl(frame))),
        kind => Err(Malformed(format!("frame of type {kind:#04x}"))),
    }
}

/// Appends an AMQP frame without payload.
///
/// # Errors
/// When the performative cannot be encoded.
pub(crate) fn put(
    out: &mut BytesMut,
    channel: u16,
    performative: &impl Serialize,
) -> Result<(), Malformed> {
    put_frame(out, AMQP, channel, &[&serde_amqp::to_vec(performative)?]);
    Ok(())
}

/// Appends a SASL frame.
///
/// # Errors
/// When the body cannot be encoded.
pub(crate) fn put_sasl(out: &mut BytesMut, body: &impl Serialize) -> Result<(), Malformed> {
    put_frame(out, SASL, 0, &[&serde_amqp::to_vec(body)?]);
    Ok(())
}

/// Appends the empty frame that keeps a quiet connection alive.
pub(crate) fn put_heartbeat(out: &mut BytesMut) {
    put_frame(out, AMQP, 0, &[]);
}

/// Appends one transfer frame carrying as much of `payload` as `max_size` allows, and takes that
/// much off it. `transfer.more` says afterwards whether anything is left to send.
///
/// # Errors
/// When the performative cannot be encoded, or leaves no room for payload in a frame of `max_size`.
pub(crate) fn put_transfer(
    out: &mut BytesMut,
    channel: u16,
    transfer: &mut Transfer,
    payload: &mut Bytes,
    max_size: usize,
) -> Result<(), Malformed> {
    // `more` is a byte whether true or false, so the length measured with it set holds for both.
    transfer.more = true;
    let mut performative = serde_amqp::to_vec(&*transfer)?;
    let room = max_size.saturating_sub(HEADER + performative.len());
    if room == 0 && !payload.is_empty() {
        return Err(Malformed(format!(
            "a frame of {max_size} bytes has no room for a message"
        )));
    }
    let part = payload.split_to(room.min(payload.len()));
    if payload.is_empty() {
        transfer.more = false;
        performative = serde_amqp::to_vec(&*transfer)?;
    }
    put_frame(out, AMQP, channel, &[&performative, &part]);
    Ok(())
}

fn put_frame(out: &mut BytesMut, kind: u8, channel: u16, parts: &[&[u8]]) {
    let size = HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(size);
    // Our own frames stay below the peer's max-frame-size, itself a u32.
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    out.put_u8(2);
    out.put_u8(kind);
    out.put_u16(channel);
    for part in parts {
        out.put_slice(part);
    }
}
