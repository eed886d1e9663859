//! What the sessions of a connection share.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedSender;

use super::claims::Claims;
use super::disturbed::Trouble;
use super::failure::Failure;
use super::hub::Hub;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::wire::frame;

/// Deliveries wait while this many bytes are on their way to a client that is slow to read them.
const OUTPUT_LIMIT: usize = 256 * 1024;

/// What a session needs of its connection.
pub(super) struct Context {
    pub(super) hub: Arc<Hub>,
    /// Bytes for the client.
    pub(super) out: BytesMut,
    /// The client's `max-frame-size`.
    pub(super) max_frame_size: usize,
    /// Where queues report that a message is ready for one of this connection's receivers.
    pub(super) wake: UnboundedSender<ConsumerId>,
    /// Which link a waiting receiver is.
    pub(super) consumers: HashMap<ConsumerId, (u16, u32)>,
    /// The session receivers of this connection, by link name.
    pub(super) session_links: HashMap<String, ConsumerId>,
    /// Links whose deliveries wait for `out` to empty.
    pub(super) stalled: Vec<(u16, u32)>,
    /// What the tokens that have been put allow.
    pub(super) claims: Claims,
    /// What scripts have done to this connection.
    pub(super) trouble: Trouble,
}

impl Context {
    pub(super) fn now(&self) -> OffsetDateTime {
        (self.hub.clock)()
    }

    pub(super) fn put(&mut self, channel: u16, frame: &impl Serialize) -> Result<(), Failure> {
        Ok(frame::put(&mut self.out, channel, frame)?)
    }

    /// The session receivers that a request speaks for: the one it names as its associated link, or
    /// any of this connection.
    pub(super) fn session_holders(&self, link: Option<&str>) -> Vec<ConsumerId> {
        match link {
            Some(name) => self.session_links.get(name).copied().into_iter().collect(),
            None => self.session_links.values().copied().collect(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= OUTPUT_LIMIT
    }
}
