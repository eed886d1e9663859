//! Entrances for fuzzing, which sees nothing of the decoders otherwise. See `fuzz/`.

use std::sync::Arc;

use uuid::Uuid;

use crate::link::witness::Witness;
use crate::wire::incoming;
use crate::wire::management::Response;

/// The bytes of a connection, in pieces whose size the first byte tells.
pub fn frames(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let witness = Arc::new(Witness::default());
    let follow = witness.follow("link".into());
    let (drained, settled) = (follow.drained(), follow.settlement(Uuid::nil()));
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        if witness.hear(piece).is_err() {
            break;
        }
    }
    drop((drained, settled));
}

/// A message inside an answer of the management node.
pub fn message(bytes: &[u8]) {
    let _ = incoming::decode(bytes, Some(Uuid::nil()));
}

/// An answer of the management node, read as the answer to each kind of request.
pub fn response(bytes: &[u8]) {
    let decode = || Response::from_message(incoming::read(bytes).ok()?).ok();
    let _ = decode().map(Response::peeked);
    let _ = decode().map(Response::messages);
    let _ = decode().map(Response::sequence_numbers);
    let _ = decode().map(Response::expiration);
}
