//! Faults as a connection meets them: what a script makes of an operation, answers that come late,
//! and disturbances of the whole connection.

use std::time::Duration;

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError, Error, ErrorCondition, LinkError};
use serde::Serialize;
use time::OffsetDateTime;

use super::context::Context;
use super::engine::Engine;
use super::failure::{Failure, custom, error};
use super::registry::Command;
use super::request::Reply;
use crate::bus::fault::{Disturbance, Fault, Hit, Operation};
use crate::bus::wire::frame;

/// A frame of an unknown type; every client must take it for a broken connection.
const MALFORMED: &[u8] = &[0, 0, 0, 12, 2, 0x7f, 0, 0, 0xde, 0xad, 0xbe, 0xef];
/// The beginning of a frame of 64 bytes.
const BEGINNING: &[u8] = &[0, 0, 0, 64, 2, 0, 0, 0];

/// What becomes of an operation.
#[derive(Debug)]
pub(super) enum Course {
    /// What always becomes of it.
    Usual,
    /// As if it had never come.
    Ignore,
    /// Carried out, not answered.
    Mute,
    /// Carried out, answered so much later.
    Late(Duration),
    Refuse(Error),
    /// The lock is lost, then the usual.
    LoseLock,
}

/// How a connection is to end at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Reset,
    HalfFrame,
}

/// Something a connection does at a later time.
pub(super) enum Late {
    Frames(BytesMut),
    Reply(u16, Reply),
}

/// What scripts have done to a connection and is not over.
#[derive(Default)]
pub(super) struct Trouble {
    /// In no order; there are hardly ever two.
    late: Vec<(OffsetDateTime, Late)>,
    /// For the engine, which alone can reach all links.
    commands: Vec<Command>,
    cut: Option<Cut>,
    silent_until: Option<OffsetDateTime>,
}

impl Context {
    /// What becomes of an operation on an entity; `request` names a management request.
    pub(super) fn course(
        &mut self,
        operation: Operation,
        entity: &str,
        request: Option<&str>,
    ) -> Course {
        let Some(Hit { fault, after }) = self.hub.faults.take(operation, entity, request) else {
            return Course::Usual;
        };
        tracing::debug!(?operation, entity, request, ?fault, "A script hits");
        match fault {
            Fault::Refuse {
                condition,
                description,
            } => Course::Refuse(self::refusal(&condition, description)),
            Fault::NoAnswer if after => Course::Mute,
            Fault::NoAnswer => Course::Ignore,
            Fault::LateMs(millis) => Course::Late(Duration::from_millis(millis)),
            Fault::LoseLock => Course::LoseLock,
            Fault::Connection(what) => {
                let course = match what {
                    Disturbance::Reset
                    | Disturbance::HalfFrame
                    | Disturbance::Close { .. }
                    | Disturbance::Detach { .. } => match after {
                        // A delivery that is cut off is one that went out.
                        true if operation == Operation::Deliver => Course::Usual,
                        true => Course::Mute,
                        false => Course::Ignore,
                    },
                    Disturbance::StallMs(_)
                    | Disturbance::Malformed
                    | Disturbance::ExpireTokens => Course::Usual,
                };
                let entity = Some(entity.to_lowercase());
                self.trouble.commands.push(Command { what, entity });
                course
            }
        }
    }

    /// Puts a frame that goes out after `delay`.
    pub(super) fn put_late(
        &mut self,
        delay: Duration,
        channel: u16,
        performative: &impl Serialize,
    ) -> Result<(), Failure> {
        let mut frames = BytesMut::new();
        frame::put(&mut frames, channel, performative)?;
        let due = self.now() + delay;
        self.trouble.late.push((due, Late::Frames(frames)));
        Ok(())
    }

    pub(super) fn reply_late(&mut self, delay: Duration, channel: u16, reply: Reply) {
        let due = self.now() + delay;
        self.trouble.late.push((due, Late::Reply(channel, reply)));
    }
}

impl Trouble {
    pub(super) fn next_deadline(&self) -> Option<OffsetDateTime> {
        let late = self.late.iter().map(|(due, _)| *due);
        late.chain(self.silent_until).min()
    }

    pub(super) fn take_due(&mut self, now: OffsetDateTime) -> Vec<Late> {
        let due = |entry: &mut (OffsetDateTime, Late)| entry.0 <= now;
        self.late
            .extract_if(.., due)
            .map(|(_, late)| late)
            .collect()
    }
}

impl Engine {
    /// What the connection must do to itself at once, instead of anything else.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.ctx.trouble.cut
    }

    /// Whether the connection takes bytes and neither reads nor answers them.
    pub(super) fn is_silent(&self) -> bool {
        let until = self.ctx.trouble.silent_until;
        until.is_some_and(|until| self.ctx.now() < until)
    }

    pub(super) fn on_command(&mut self, command: Command) {
        self.ctx.trouble.commands.push(command);
        self.disturb();
    }

    /// Carries out the disturbances that have been asked for.
    pub(super) fn disturb(&mut self) {
        for Command { what, entity } in std::mem::take(&mut self.ctx.trouble.commands) {
            match what {
                Disturbance::Reset => self.ctx.trouble.cut = Some(Cut::Reset),
                Disturbance::HalfFrame => {
                    self.ctx.trouble.cut = Some(Cut::HalfFrame);
                    match self.ctx.out.len() {
                        0 => self.ctx.out.extend_from_slice(BEGINNING),
                        length => self.ctx.out.truncate(length - 1),
                    }
                }
                Disturbance::Close {
                    condition,
                    description,
                } => self.close(refusal(&condition, description)),
                Disturbance::Detach {
                    condition,
                    description,
                } => {
                    let links = self.links_where(|link| {
                        link.needs().is_some_and(|(name, _)| {
                            entity
                                .as_deref()
                                .is_none_or(|entity| name.eq_ignore_ascii_case(entity))
                        })
                    });
                    self.detach_links(&links, &refusal(&condition, description));
                }
                Disturbance::StallMs(millis) => {
                    let until = self.ctx.now() + Duration::from_millis(millis);
                    self.ctx.trouble.silent_until = Some(until);
                }
                Disturbance::Malformed => self.ctx.out.extend_from_slice(MALFORMED),
                Disturbance::ExpireTokens => self.expire_tokens(),
            }
        }
    }
}

/// An error with a condition given as text. Those of the standard are symbols of types of their own
/// in the library.
pub(super) fn refusal(condition: &str, description: String) -> Error {
    let known: Option<ErrorCondition> = match condition {
        "amqp:connection:forced" => Some(ConnectionError::ConnectionForced.into()),
        "amqp:link:detach-forced" => Some(LinkError::DetachForced.into()),
        "amqp:internal-error" => Some(AmqpError::InternalError.into()),
        "amqp:not-found" => Some(AmqpError::NotFound.into()),
        "amqp:not-allowed" => Some(AmqpError::NotAllowed.into()),
        "amqp:unauthorized-access" => Some(AmqpError::UnauthorizedAccess.into()),
        "amqp:resource-limit-exceeded" => Some(AmqpError::ResourceLimitExceeded.into()),
        _ => None,
    };
    match known {
        Some(known) => error(known, description),
        None => custom(condition, description),
    }
}
