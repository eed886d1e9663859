//! The two kinds of links, seen from the broker.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::accept::Accepting;
use super::address::Address;
use super::entity::Entity;
use crate::bus::queue::SubQueue;
use crate::bus::queue::sessions::SessionId;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::security::Right;

/// Credit a client gets for sending, topped up when half of it is used.
pub(super) const SEND_CREDIT: u32 = 1_000;

/// A link, by the direction in which its messages flow.
pub(super) enum Link {
    /// The client sends.
    Incoming(Incoming),
    /// The client receives.
    Outgoing(Outgoing),
    /// A receiver whose attach is not answered yet: it waits for a session.
    Accepting(Box<Accepting>),
    /// We have detached it; whatever the client still sends on it is ignored until it detaches too.
    Detached,
}

impl Link {
    /// The entity behind it, and the right that using it takes; `None` for links to `$cbs`.
    pub(super) fn needs(&self) -> Option<(&str, Right)> {
        match self {
            Link::Incoming(incoming) => match &incoming.target {
                Target::Queue(entity) => Some((&entity.name, Right::Send)),
                Target::Management(entity, _) => Some((&entity.name, Right::Any)),
                Target::Cbs => None,
            },
            Link::Outgoing(outgoing) => match &outgoing.source {
                Source::Queue { entity, .. } => Some((&entity.name, Right::Listen)),
                Source::Replies {
                    node: Address::Entity { name, .. },
                    ..
                } => Some((name, Right::Any)),
                Source::Replies { .. } => None,
            },
            Link::Accepting(accepting) => Some((&accepting.entity.name, Right::Listen)),
            Link::Detached => None,
        }
    }
}

/// Where a client's messages go.
pub(super) enum Target {
    Queue(Arc<Entity>),
    Cbs,
    Management(Arc<Entity>, SubQueue),
}

/// A link on which the client sends.
pub(super) struct Incoming {
    pub(super) target: Target,
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    /// A delivery of which more frames are to come.
    pub(super) partial: Option<Partial>,
}

/// A delivery that is coming in.
pub(super) struct Partial {
    pub(super) delivery_id: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    /// All bytes that came, whether kept or not.
    pub(super) size: usize,
    /// Empty once there are more than the link takes.
    pub(super) bytes: BytesMut,
}

/// Where the messages for a receiving client come from.
pub(super) enum Source {
    Queue {
        entity: Arc<Entity>,
        sub: SubQueue,
        /// Receive-and-delete: messages leave the queue with their delivery.
        delete: bool,
        consumer: ConsumerId,
        /// Waiting in the queue's line, or woken from it and not served since.
        waiting: bool,
        /// The session it has accepted, on an entity with sessions.
        session: Option<SessionId>,
    },
    /// Answers of a request/response node, held back while there is no credit.
    Replies {
        node: Address,
        reply_to: Option<String>,
        held: VecDeque<Bytes>,
    },
}

/// A link on which the client receives.
pub(super) struct Outgoing {
    pub(super) source: Source,
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    /// The client wants its credit used up or taken back.
    pub(super) drain: bool,
}

impl Outgoing {
    /// A link without credit.
    pub(super) fn of(source: Source) -> Self {
        Outgoing {
            source,
            delivery_count: 0,
            credit: 0,
            drain: false,
        }
    }
}
