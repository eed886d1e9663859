//! One AMQP session: its windows, its links, and the deliveries a client has not settled yet.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fe2o3_amqp_types::definitions::{ConnectionError, Error, Handle, SessionError};
use fe2o3_amqp_types::performatives::{Begin, Detach, Flow, Performative, Transfer};
use time::OffsetDateTime;
use uuid::Uuid;

use super::context::Context;
use super::failure::{Failure, error, unattached_handle};
use super::link::{Link, Outgoing, Source};
use super::request::Reply;
use crate::bus::queue::SubQueue;
use crate::bus::wire::frame;

/// Transfer frames a client may send before it hears from us; renewed when half are used.
const INCOMING_WINDOW: u32 = 5_000;
/// What we announce; we keep to the client's window, not to our own.
const OUTGOING_WINDOW: u32 = 5_000;
/// Handles go up to this, as on the service.
const HANDLE_MAX: u32 = 255;

/// A delivery that waits for the client's verdict.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsettled {
    pub(super) handle: u32,
    pub(super) token: Uuid,
}

/// How a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// Either side said so: the receiver of a (Service Bus) session lets go of it.
    Said,
    /// Its connection is gone.
    Lost,
}

/// A session as the broker sees it. We use the client's own channel and handle numbers for our end
/// too: they are separate number spaces, and equal numbers are easy to follow in a trace.
pub(super) struct Session {
    pub(super) channel: u16,
    next_incoming_id: u32,
    incoming_window: u32,
    next_outgoing_id: u32,
    remote_incoming_window: u32,
    next_delivery_id: u32,
    pub(super) links: BTreeMap<u32, Link>,
    pub(super) unsettled: BTreeMap<u32, Unsettled>,
    /// Transfers, begun or whole, for which the client's window had no room.
    backlog: VecDeque<(Transfer, Bytes)>,
    /// When each link to an entity was last used.
    used: BTreeMap<u32, OffsetDateTime>,
}

impl Session {
    /// Answers a client's `begin`.
    pub(super) fn begin(ctx: &mut Context, channel: u16, begin: &Begin) -> Result<Self, Failure> {
        let reply = Begin {
            remote_channel: Some(channel),
            next_outgoing_id: 0,
            incoming_window: INCOMING_WINDOW,
            outgoing_window: OUTGOING_WINDOW,
            handle_max: Handle(HANDLE_MAX),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        ctx.put(channel, &reply)?;
        Ok(Session {
            channel,
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: INCOMING_WINDOW,
            next_outgoing_id: 0,
            remote_incoming_window: begin.incoming_window,
            next_delivery_id: 0,
            links: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            backlog: VecDeque::new(),
            used: BTreeMap::new(),
        })
    }

    /// A frame on this session's channel other than begin and end. What it returns is a request
    /// that some node of this connection must answer.
    pub(super) fn on_frame(
        &mut self,
        ctx: &mut Context,
        performative: Performative,
        payload: &Bytes,
    ) -> Result<Option<Reply>, Failure> {
        if let Some(handle) = handle(&performative) {
            self.is_used(ctx, handle);
        }
        match performative {
            Performative::Attach(attach) => {
                if attach.handle.0 > HANDLE_MAX {
                    let text = format!("handle {} is above {HANDLE_MAX}", attach.handle.0);
                    return Err(Failure::Connection(error(
                        ConnectionError::FramingError,
                        text,
                    )));
                }
                let handle = attach.handle.0;
                self.on_attach(ctx, attach)?;
                self.begins_use(ctx, handle);
            }
            Performative::Flow(flow) => self.on_flow(ctx, &flow)?,
            Performative::Transfer(transfer) => {
                self.count_incoming(ctx)?;
                return self.on_transfer(ctx, transfer, payload);
            }
            Performative::Disposition(disposition) => self.on_disposition(ctx, disposition)?,
            Performative::Detach(detach) => self.on_detach(ctx, &detach)?,
            Performative::Open(_)
            | Performative::Begin(_)
            | Performative::End(_)
            | Performative::Close(_) => {}
        }
        Ok(None)
    }

    /// Has a new link to an entity count as idle from now on. One that still waits for a session
    /// does not: that time-out is the client's own.
    pub(super) fn begins_use(&mut self, ctx: &Context, handle: u32) {
        let is_watched = self
            .links
            .get(&handle)
            .is_some_and(|link| link.needs().is_some() && !matches!(link, Link::Accepting(_)));
        if is_watched {
            self.used.insert(handle, ctx.now());
        }
    }

    /// Notes that a link was used just now.
    pub(super) fn is_used(&mut self, ctx: &Context, handle: u32) {
        if let Some(used) = self.used.get_mut(&handle) {
            *used = ctx.now();
        }
    }

    /// When the link that has been idle longest was last used.
    pub(super) fn first_used(&self) -> Option<OffsetDateTime> {
        self.used.values().min().copied()
    }

    /// When each link was last used.
    pub(super) fn used(&self) -> impl Iterator<Item = (u32, OffsetDateTime)> {
        self.used.iter().map(|(handle, used)| (*handle, *used))
    }

    /// Sends what the window allows of a message; the rest follows when the client opens it.
    pub(super) fn send(
        &mut self,
        ctx: &mut Context,
        mut transfer: Transfer,
        message: Bytes,
    ) -> Result<u32, Failure> {
        let id = self.next_delivery_id;
        self.next_delivery_id = id.wrapping_add(1);
        transfer.delivery_id = Some(id);
        self.backlog.push_back((transfer, message));
        self.flush(ctx)?;
        Ok(id)
    }

    /// Whether a further delivery could start right now.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.remote_incoming_window > 0
    }

    /// Sends held-back transfer frames as far as the client's window goes.
    pub(super) fn flush(&mut self, ctx: &mut Context) -> Result<(), Failure> {
        while self.remote_incoming_window > 0 {
            let Some((mut transfer, mut rest)) = self.backlog.pop_front() else {
                break;
            };
            frame::put_transfer(
                &mut ctx.out,
                self.channel,
                &mut transfer,
                &mut rest,
                ctx.max_frame_size,
            )?;
            self.remote_incoming_window -= 1;
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            if transfer.more {
                // Only the first frame of a delivery names it.
                let handle = transfer.handle;
                self.backlog.push_front((continuation(handle), rest));
            }
        }
        Ok(())
    }

    /// Takes over the window a `flow` tells of. Its `next-incoming-id` says what of ours the client
    /// has seen; what is still on its way counts against the new window.
    pub(super) fn update_window(&mut self, flow: &Flow) {
        let seen = flow.next_incoming_id.unwrap_or(0);
        let in_flight = self.next_outgoing_id.wrapping_sub(seen);
        self.remote_incoming_window = flow.incoming_window.saturating_sub(in_flight);
    }

    /// A `flow` with the session's own fields filled in.
    pub(super) fn flow(&self) -> Flow {
        Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            handle: None,
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
            properties: None,
        }
    }

    /// Ends a link from our side.
    pub(super) fn detach(
        &mut self,
        ctx: &mut Context,
        handle: u32,
        error: Error,
    ) -> Result<(), Failure> {
        if let Some(Link::Accepting(accepting)) = self.drop_link(ctx, handle, Parting::Said) {
            self.abandon_attach(ctx, &accepting)?;
        }
        self.links.insert(handle, Link::Detached);
        ctx.put(
            self.channel,
            &Detach {
                handle: Handle(handle),
                closed: true,
                error: Some(error),
            },
        )
    }

    fn on_detach(&mut self, ctx: &mut Context, detach: &Detach) -> Result<(), Failure> {
        let handle = detach.handle.0;
        match self.drop_link(ctx, handle, Parting::Said) {
            // Our detach went out before; this is the answer to it.
            Some(Link::Detached) => Ok(()),
            Some(link) => {
                if let Link::Accepting(accepting) = &link {
                    self.abandon_attach(ctx, accepting)?;
                }
                let reply = Detach {
                    handle: Handle(handle),
                    closed: detach.closed,
                    error: None,
                };
                ctx.put(self.channel, &reply)
            }
            None => Err(unattached_handle(handle)),
        }
    }

    /// Takes a link out. What it had locked stays locked until the locks run out: the service has
    /// no link recovery, and another receiver may not see the messages earlier. Those of a session come
    /// back when its receiver says goodbye.
    fn drop_link(&mut self, ctx: &mut Context, handle: u32, parting: Parting) -> Option<Link> {
        let link = self.links.remove(&handle)?;
        self.used.remove(&handle);
        match &link {
            Link::Outgoing(Outgoing {
                source:
                    Source::Queue {
                        entity,
                        sub,
                        consumer,
                        session,
                        ..
                    },
                ..
            }) => {
                if let Some(id) = session {
                    ctx.session_links.retain(|_, holder| holder != consumer);
                    if parting == Parting::Said {
                        entity.with(|queue, now| queue.release_session(id, *consumer, now));
                    }
                }
                entity.part(*sub, *consumer);
                ctx.consumers.remove(consumer);
            }
            Link::Accepting(accepting) => {
                let consumer = accepting.consumer;
                accepting
                    .entity
                    .with(|queue, _| queue.stop_seeking(consumer));
                accepting.entity.part(SubQueue::Main, consumer);
                ctx.consumers.remove(&consumer);
            }
            Link::Outgoing(_) | Link::Incoming(_) | Link::Detached => {}
        }
        self.unsettled
            .retain(|_, unsettled| unsettled.handle != handle);
        self.backlog
            .retain(|(transfer, _)| transfer.handle.0 != handle);
        Some(link)
    }

    /// Takes all links out, when the session or its connection ends.
    pub(super) fn drop_links(&mut self, ctx: &mut Context, parting: Parting) {
        let handles: Vec<u32> = self.links.keys().copied().collect();
        for handle in handles {
            self.drop_link(ctx, handle, parting);
        }
    }

    fn count_incoming(&mut self, ctx: &mut Context) -> Result<(), Failure> {
        if self.incoming_window == 0 {
            let text = "more transfers than the session's window allows";
            return Err(Failure::Session(error(SessionError::WindowViolation, text)));
        }
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        self.incoming_window -= 1;
        if self.incoming_window <= INCOMING_WINDOW / 2 {
            self.incoming_window = INCOMING_WINDOW;
            ctx.put(self.channel, &self.flow())?;
        }
        Ok(())
    }
}

/// The link that a frame uses.
fn handle(performative: &Performative) -> Option<u32> {
    match performative {
        Performative::Flow(flow) => flow.handle.as_ref().map(|handle| handle.0),
        Performative::Transfer(transfer) => Some(transfer.handle.0),
        _ => None,
    }
}

/// The transfer of a further frame of a delivery already begun.
fn continuation(handle: Handle) -> Transfer {
    Transfer {
        handle,
        delivery_id: None,
        delivery_tag: None,
        message_format: None,
        settled: None,
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}
