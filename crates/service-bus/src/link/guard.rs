//! Keeps from the AMQP library what would be the end of it.
//!
//! The library decodes whatever comes, recursing as deep as the values are nested and allocating
//! what their sizes claim: one hostile frame would use up the stack and abort the process. So every
//! frame is walked first, and a message that comes in several transfers as the one value it is.

use std::collections::HashMap;

use amqp_walk::{Malformed, Walker, measure};
use fe2o3_amqp_types::performatives::{Detach, Transfer};

use super::frames::Frame;

/// The largest frame that we accept, bytes; we tell the broker so.
pub(crate) const MAX_FRAME: u32 = 64 * 1024;
/// The largest message that we accept, bytes: a premium namespace has messages of up to 100 MiB.
const MAX_MESSAGE: usize = 128 * 1024 * 1024;

const SASL: u8 = 1;
const TRANSFER: u8 = 0x14;
const DETACH: u8 = 0x16;
const END: u8 = 0x17;

/// Why the broker's bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("a frame of {0} bytes, where {MAX_FRAME} were agreed on at most")]
    FrameSize(usize),
    #[error("a frame whose body begins at byte {0}")]
    DataOffset(usize),
    #[error("a message of more than {MAX_MESSAGE} bytes")]
    MessageSize,
    #[error("a transfer that cannot be decoded: {0}")]
    Transfer(String),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A frame that may pass.
#[derive(Debug)]
pub(crate) enum Passed {
    /// An empty frame, or one that only the library is interested in.
    Other,
    /// A performative, by its code.
    Performative(u8),
    Transfer(Box<Transfer>),
}

/// Watches one connection.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Messages of which more is to come, by channel and handle.
    partial: HashMap<(u16, u32), Message>,
}

#[derive(Debug, Default)]
struct Message {
    walker: Walker,
    length: usize,
}

impl Guard {
    /// Looks at a frame.
    ///
    /// # Errors
    /// When the library must not see it. The connection is of no further use then.
    pub(crate) fn check(&mut self, frame: &Frame<'_>) -> Result<Passed, Refused> {
        if frame.body.is_empty() {
            return Ok(Passed::Other);
        }
        let length = measure(frame.body)?;
        if frame.kind == SASL {
            return Ok(Passed::Other);
        }
        let (body, payload) = frame.body.split_at(length);
        match code(body) {
            Some(TRANSFER) => {
                let transfer: Transfer = serde_amqp::from_slice(body)
                    .map_err(|error| Refused::Transfer(error.to_string()))?;
                self.payload(frame.channel, &transfer, payload)?;
                Ok(Passed::Transfer(Box::new(transfer)))
            }
            Some(DETACH) => {
                // What the link had begun to send does not come any more.
                if let Ok(detach) = serde_amqp::from_slice::<Detach>(body) {
                    self.partial.remove(&(frame.channel, detach.handle.0));
                }
                Ok(Passed::Performative(DETACH))
            }
            Some(END) => {
                self.partial.retain(|(on, _), _| *on != frame.channel);
                Ok(Passed::Performative(END))
            }
            Some(code) => Ok(Passed::Performative(code)),
            None => Ok(Passed::Other),
        }
    }

    fn payload(
        &mut self,
        channel: u16,
        transfer: &Transfer,
        mut payload: &[u8],
    ) -> Result<(), Refused> {
        let place = (channel, transfer.handle.0);
        let mut message = self.partial.remove(&place).unwrap_or_default();
        if transfer.aborted {
            return Ok(());
        }
        message.length += payload.len();
        if message.length > MAX_MESSAGE {
            return Err(Refused::MessageSize);
        }
        while let Some(taken) = message.walker.feed(payload)? {
            payload = &payload[taken..];
        }
        if transfer.more {
            self.partial.insert(place, message);
        } else if !message.walker.is_between_values() {
            return Err(Malformed::CutShort.into());
        }
        Ok(())
    }
}

/// The code of a performative: a described list whose descriptor is a small or a full ulong.
fn code(body: &[u8]) -> Option<u8> {
    match body {
        [0x00, 0x53, code, ..] | [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => Some(*code),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
