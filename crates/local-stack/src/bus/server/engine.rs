//! The AMQP protocol of one connection, from `open` to `close`. Frames in, bytes out; no I/O.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, Error, MIN_MAX_FRAME_SIZE};
use fe2o3_amqp_types::performatives::{Close, End, Open, Performative};
use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedSender;

use super::claims::Claims;
use super::context::Context;
use super::disturbed::{Late, Trouble};
use super::failure::{Failure, error};
use super::hub::Hub;
use super::idle::Patience;
use super::link::Link;
use super::registry::Membership;
use super::request::Reply;
use super::session::{Parting, Session};
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::wire::frame::{self, Frame};

/// The largest frame we take.
pub(super) const MAX_FRAME_SIZE: u32 = 65_536;
/// Sessions a client may have at a time, less one.
const CHANNEL_MAX: u16 = 4_999;
/// What we tell clients to keep below when they are quiet.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The state of one connection.
pub(super) struct Engine {
    pub(super) ctx: Context,
    pub(super) sessions: HashMap<u16, Session>,
    /// Sessions that we ended and the client has not ended yet.
    ending: HashSet<u16>,
    is_open: bool,
    is_closed: bool,
    /// How often the client wants to hear from us.
    heartbeat: Option<Duration>,
    /// Where tests find this connection; none for an engine without a socket.
    membership: Option<Membership>,
    pub(super) patience: Patience,
}

impl Engine {
    pub(super) fn new(
        hub: Arc<Hub>,
        wake: UnboundedSender<ConsumerId>,
        membership: Option<Membership>,
    ) -> Self {
        let patience = Patience::new((hub.clock)());
        Engine {
            ctx: Context {
                hub,
                out: BytesMut::new(),
                max_frame_size: MIN_MAX_FRAME_SIZE,
                wake,
                consumers: HashMap::new(),
                session_links: HashMap::new(),
                stalled: Vec::new(),
                claims: Claims::default(),
                trouble: Trouble::default(),
            },
            sessions: HashMap::new(),
            ending: HashSet::new(),
            is_open: false,
            is_closed: false,
            heartbeat: None,
            membership,
            patience,
        }
    }

    /// Bytes to send to the client.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.ctx.out
    }

    /// Whether the connection is over once `out` has been sent.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// How often to send something, once the connection is open. Not before: a heartbeat between
    /// header and open is a protocol error to some clients.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.heartbeat
    }

    pub(super) fn put_heartbeat(&mut self) {
        if self.is_open && !self.is_closed {
            frame::put_heartbeat(&mut self.ctx.out);
        }
    }

    /// Takes one frame. An error that ends the connection has been told to the client when this
    /// returns; see [`Engine::is_closed`].
    pub(super) fn on_frame(&mut self, frame: Frame) {
        if self.is_closed {
            return;
        }
        let changes_links = matches!(
            &frame,
            Frame::Amqp {
                performative: Performative::Attach(_)
                    | Performative::Detach(_)
                    | Performative::End(_),
                ..
            }
        );
        let result = match frame {
            Frame::Heartbeat => Ok(()),
            Frame::Amqp {
                channel,
                performative,
                payload,
            } => self
                .on_performative(channel, performative, &payload)
                .map_err(|failure| (channel, failure)),
            Frame::Sasl(_) => {
                let text = "a SASL frame after SASL";
                Err((0, Failure::Connection(error(AmqpError::IllegalState, text))))
            }
        };
        match result {
            Ok(()) => {}
            Err((_, Failure::Connection(reason))) => self.close(reason),
            Err((channel, Failure::Session(reason))) => self.end_session(channel, reason),
        }
        if changes_links {
            self.count_links();
        }
        if !self.ctx.claims.is_empty() {
            self.patience.has_put_token();
        }
        self.disturb();
    }

    /// The next moment at which [`Engine::on_time`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<OffsetDateTime> {
        let trouble = self.ctx.trouble.next_deadline();
        let claims = self.ctx.claims.next_expiry();
        let timeout = self.next_timeout();
        trouble.into_iter().chain(claims).chain(timeout).min()
    }

    /// Does what is due by now.
    pub(super) fn on_time(&mut self) {
        let now = self.ctx.now();
        for late in self.ctx.trouble.take_due(now) {
            match late {
                Late::Frames(frames) => self.ctx.out.extend_from_slice(&frames),
                Late::Reply(channel, reply) => {
                    if let Err(Failure::Connection(reason) | Failure::Session(reason)) =
                        self.route(channel, &reply)
                    {
                        self.close(reason);
                    }
                }
            }
        }
        self.expire_claims(now);
        self.time_out(now);
    }

    /// A queue has a message ready for one of this connection's receivers.
    pub(super) fn on_wake(&mut self, consumer: ConsumerId) {
        if let Some((channel, handle)) = self.ctx.consumers.get(&consumer).copied() {
            self.pump(channel, handle);
        }
        self.disturb();
    }

    /// The client has read what was meant for it; deliveries that waited for that go on.
    pub(super) fn on_drained(&mut self) {
        if !self.ctx.is_full() {
            for (channel, handle) in std::mem::take(&mut self.ctx.stalled) {
                self.pump(channel, handle);
            }
            self.disturb();
        }
    }

    /// Closes the connection with an error.
    pub(super) fn close(&mut self, reason: Error) {
        if self.is_closed {
            return;
        }
        tracing::debug!(condition = ?reason.condition, description = ?reason.description,
            "Closing a connection");
        if self.is_open {
            // Nothing further can be done about a close that cannot be encoded.
            let _ = self.ctx.put(
                0,
                &Close {
                    error: Some(reason),
                },
            );
        }
        self.leave();
    }

    /// Gives up everything the connection holds in queues, except its locks: those of messages and
    /// of sessions run out, since nobody can say whether the client still works on them.
    pub(super) fn leave(&mut self) {
        self.part(Parting::Lost);
    }

    fn part(&mut self, parting: Parting) {
        self.is_closed = true;
        for mut session in std::mem::take(&mut self.sessions).into_values() {
            session.drop_links(&mut self.ctx, parting);
        }
    }

    /// The links for which `fits` holds, by channel and handle.
    pub(super) fn links_where(&self, fits: impl Fn(&Link) -> bool) -> Vec<(u16, u32)> {
        let sessions = self.sessions.values();
        sessions
            .flat_map(|session| {
                let links = session.links.iter().filter(|(_, link)| fits(link));
                links.map(|(handle, _)| (session.channel, *handle))
            })
            .collect()
    }

    /// Detaches links from our side.
    pub(super) fn detach_links(&mut self, links: &[(u16, u32)], reason: &Error) {
        for (channel, handle) in links {
            if let Some(session) = self.sessions.get_mut(channel)
                && let Err(Failure::Connection(failure) | Failure::Session(failure)) =
                    session.detach(&mut self.ctx, *handle, reason.clone())
            {
                return self.close(failure);
            }
        }
        if !links.is_empty() {
            self.count_links();
        }
    }

    /// Takes stock of the links to entities, for the time-outs and for tests that look.
    fn count_links(&mut self) {
        let links = self.sessions.values().flat_map(|one| one.links.values());
        let entities: BTreeSet<String> = links
            .filter_map(|link| Some(link.needs()?.0.to_lowercase()))
            .collect();
        self.patience
            .links_are(!entities.is_empty(), self.ctx.now());
        if let Some(membership) = &self.membership {
            membership.attached_to(entities.into_iter().collect());
        }
    }

    fn on_performative(
        &mut self,
        channel: u16,
        performative: Performative,
        payload: &Bytes,
    ) -> Result<(), Failure> {
        match performative {
            Performative::Open(open) if !self.is_open => self.on_open(&open),
            Performative::Close(_) if self.is_open => {
                self.ctx.put(0, &Close { error: None })?;
                self.part(Parting::Said);
                Ok(())
            }
            Performative::Begin(begin)
                if self.is_open
                    && channel <= CHANNEL_MAX
                    && !self.sessions.contains_key(&channel) =>
            {
                let session = Session::begin(&mut self.ctx, channel, &begin)?;
                self.sessions.insert(channel, session);
                Ok(())
            }
            Performative::End(_) if self.ending.remove(&channel) => Ok(()),
            Performative::End(_) if self.sessions.contains_key(&channel) => {
                self.drop_session(channel);
                self.ctx.put(channel, &End { error: None })
            }
            other => match self.sessions.get_mut(&channel) {
                Some(session) => {
                    let reply = session.on_frame(&mut self.ctx, other, payload)?;
                    match reply {
                        Some(reply) if !reply.delay.is_zero() => {
                            self.ctx.reply_late(reply.delay, channel, reply);
                            Ok(())
                        }
                        Some(reply) => self.route(channel, &reply),
                        None => Ok(()),
                    }
                }
                None if self.ending.contains(&channel) => Ok(()),
                None => {
                    let text = format!("a frame that has no place here, on channel {channel}");
                    Err(Failure::Connection(error(AmqpError::IllegalState, text)))
                }
            },
        }
    }

    fn on_open(&mut self, open: &Open) -> Result<(), Failure> {
        self.ctx.max_frame_size =
            (open.max_frame_size.0 as usize).clamp(MIN_MAX_FRAME_SIZE, MAX_FRAME_SIZE as usize);
        // Half of what the client allows, so that one late frame is not yet a broken connection.
        self.heartbeat = open
            .idle_time_out
            .filter(|millis| *millis > 0)
            .map(|millis| Duration::from_millis(u64::from(millis)) / 2);
        let reply = Open {
            container_id: "local-service-bus".to_owned(),
            hostname: None,
            max_frame_size: MAX_FRAME_SIZE.into(),
            channel_max: CHANNEL_MAX.into(),
            idle_time_out: u32::try_from(IDLE_TIMEOUT.as_millis()).ok(),
            outgoing_locales: None,
            incoming_locales: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.ctx.put(0, &reply)?;
        self.is_open = true;
        if let Some(membership) = &self.membership {
            membership.opened(&open.container_id);
        }
        Ok(())
    }

    /// Hands an answer to the link that waits for it: first in the request's own session, then in
    /// the connection's other ones.
    fn route(&mut self, channel: u16, reply: &Reply) -> Result<(), Failure> {
        if let Some(session) = self.sessions.get_mut(&channel)
            && session.deliver_reply(&mut self.ctx, reply)?
        {
            return Ok(());
        }
        for session in self.sessions.values_mut() {
            if session.deliver_reply(&mut self.ctx, reply)? {
                return Ok(());
            }
        }
        tracing::debug!(node = ?reply.node, "Dropped an answer that no link waits for");
        Ok(())
    }

    fn pump(&mut self, channel: u16, handle: u32) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        match session.pump(&mut self.ctx, handle) {
            Ok(()) => {}
            Err(Failure::Connection(reason)) => self.close(reason),
            Err(Failure::Session(reason)) => self.end_session(channel, reason),
        }
    }

    fn end_session(&mut self, channel: u16, reason: Error) {
        self.drop_session(channel);
        self.ending.insert(channel);
        if let Err(Failure::Connection(reason) | Failure::Session(reason)) = self.ctx.put(
            channel,
            &End {
                error: Some(reason),
            },
        ) {
            self.close(reason);
        }
    }

    fn drop_session(&mut self, channel: u16) {
        if let Some(mut session) = self.sessions.remove(&channel) {
            session.drop_links(&mut self.ctx, Parting::Said);
        }
    }
}
