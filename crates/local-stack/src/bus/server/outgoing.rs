//! Messages to clients: against credit, within the session's window, locked as they leave.

use bytes::Bytes;
use fe2o3_amqp_types::definitions::Handle;
use fe2o3_amqp_types::performatives::{Flow, Transfer};
use serde_amqp::primitives::Binary;
use uuid::Uuid;

use super::accept::session_lost;
use super::context::Context;
use super::disturbed::Course;
use super::failure::{Failure, unattached_handle};
use super::link::{Link, Outgoing, Source};
use super::request::Reply;
use super::session::{Session, Unsettled};
use crate::bus::fault::Operation;
use crate::bus::wire::delivery;

/// What a link has to send next.
enum Next {
    Message { bytes: Bytes, lock: Option<Uuid> },
    Reply(Bytes),
    Nothing,
}

impl Session {
    pub(super) fn on_flow(&mut self, ctx: &mut Context, flow: &Flow) -> Result<(), Failure> {
        let had_room = self.has_room();
        self.update_window(flow);
        self.flush(ctx)?;
        if let Some(handle) = &flow.handle {
            match self.links.get_mut(&handle.0) {
                Some(Link::Outgoing(outgoing)) => {
                    outgoing.take_credit(flow);
                    self.pump(ctx, handle.0)?;
                }
                // Granted ahead of the answer to its attach.
                Some(Link::Accepting(accepting)) => accepting.flow = Some(flow.clone()),
                Some(Link::Incoming(_) | Link::Detached) => {}
                None => return Err(unattached_handle(handle.0)),
            }
        }
        if !had_room && self.has_room() {
            self.pump_all(ctx)?;
        }
        if flow.echo {
            self.echo(ctx, flow.handle.as_ref())?;
        }
        Ok(())
    }

    /// Delivers on one link as much as credit, window and queue allow, then completes a drain.
    pub(super) fn pump(&mut self, ctx: &mut Context, handle: u32) -> Result<(), Failure> {
        match self.links.get(&handle) {
            Some(Link::Accepting(_)) => return self.try_accept(ctx, handle),
            Some(Link::Outgoing(outgoing)) if outgoing.has_lost_session() => {
                return self.detach(ctx, handle, session_lost());
            }
            _ => {}
        }
        loop {
            let has_room = self.has_room();
            let is_full = ctx.is_full();
            let Some(Link::Outgoing(outgoing)) = self.links.get_mut(&handle) else {
                return Ok(());
            };
            if outgoing.credit == 0 {
                outgoing.stop_waiting();
                return self.complete_drain(ctx, handle);
            }
            if !has_room || is_full {
                // Somebody else may take what this link was woken for.
                outgoing.stop_waiting();
                if is_full && !ctx.stalled.contains(&(self.channel, handle)) {
                    ctx.stalled.push((self.channel, handle));
                }
                return Ok(());
            }
            let next = outgoing.next()?;
            let course = match (&next, &outgoing.source) {
                (Next::Message { .. }, Source::Queue { entity, .. }) => {
                    ctx.course(Operation::Deliver, &entity.name, None)
                }
                _ => Course::Usual,
            };
            if matches!(course, Course::Ignore | Course::Mute) {
                // Lost on its way: for the client it never was.
                continue;
            }
            if !matches!(next, Next::Nothing) {
                outgoing.credit -= 1;
                outgoing.delivery_count = outgoing.delivery_count.wrapping_add(1);
            }
            match next {
                Next::Message { bytes, lock } => {
                    // The lock token is the delivery tag, in .NET's Guid byte order.
                    let tag = lock.unwrap_or_else(Uuid::new_v4).to_bytes_le();
                    let transfer = transfer(handle, &tag, lock.is_none());
                    let id = self.send(ctx, transfer, bytes)?;
                    self.is_used(ctx, handle);
                    if let Some(token) = lock {
                        if matches!(course, Course::LoseLock) {
                            self.lose_lock(handle, token);
                        }
                        self.unsettled.insert(id, Unsettled { handle, token });
                    }
                }
                Next::Reply(bytes) => {
                    let transfer = transfer(handle, Uuid::new_v4().as_bytes(), true);
                    self.send(ctx, transfer, bytes)?;
                }
                Next::Nothing => return self.complete_drain(ctx, handle),
            }
        }
    }

    /// Ends the lock of a message that has just gone out.
    fn lose_lock(&self, handle: u32, token: Uuid) {
        if let Some(Link::Outgoing(Outgoing {
            source: Source::Queue { entity, sub, .. },
            ..
        })) = self.links.get(&handle)
        {
            entity.with(|queue, now| queue.lose_lock(*sub, token, now));
        }
    }

    /// Pumps every receiving link, after the window has opened.
    fn pump_all(&mut self, ctx: &mut Context) -> Result<(), Failure> {
        let handles: Vec<u32> = self.links.keys().copied().collect();
        handles
            .into_iter()
            .try_for_each(|handle| self.pump(ctx, handle))
    }

    /// Queues an answer on the link that is meant for it, if this session has one.
    /// A link whose own address is the request's `reply-to` comes before others of the same node.
    pub(super) fn deliver_reply(
        &mut self,
        ctx: &mut Context,
        reply: &Reply,
    ) -> Result<bool, Failure> {
        let mut chosen = None;
        for (handle, link) in &mut self.links {
            if let Link::Outgoing(Outgoing {
                source:
                    Source::Replies {
                        node,
                        reply_to,
                        held,
                    },
                ..
            }) = link
                && *node == reply.node
            {
                let is_exact = reply.reply_to.is_some() && *reply_to == reply.reply_to;
                if is_exact || chosen.is_none() {
                    chosen = Some((*handle, held));
                }
                if is_exact {
                    break;
                }
            }
        }
        let Some((handle, held)) = chosen else {
            return Ok(false);
        };
        held.push_back(reply.message.clone());
        self.pump(ctx, handle)?;
        Ok(true)
    }

    /// When a link that shall be drained has nothing more to send, the rest of its credit is used
    /// up without messages and the client is told.
    fn complete_drain(&mut self, ctx: &mut Context, handle: u32) -> Result<(), Failure> {
        let Some(Link::Outgoing(outgoing)) = self.links.get_mut(&handle) else {
            return Ok(());
        };
        if !outgoing.drain {
            return Ok(());
        }
        outgoing.stop_waiting();
        outgoing.delivery_count = outgoing.delivery_count.wrapping_add(outgoing.credit);
        outgoing.credit = 0;
        outgoing.drain = false;
        let delivery_count = outgoing.delivery_count;
        let mut flow = self.flow();
        flow.handle = Some(Handle(handle));
        flow.delivery_count = Some(delivery_count);
        flow.link_credit = Some(0);
        flow.drain = true;
        ctx.put(self.channel, &flow)
    }

    fn echo(&mut self, ctx: &mut Context, handle: Option<&Handle>) -> Result<(), Failure> {
        let mut flow = self.flow();
        if let Some(handle) = handle {
            let (delivery_count, credit) = match self.links.get(&handle.0) {
                Some(Link::Outgoing(link)) => (link.delivery_count, link.credit),
                Some(Link::Incoming(link)) => (link.delivery_count, link.credit),
                Some(Link::Accepting(_) | Link::Detached) | None => return Ok(()),
            };
            flow.handle = Some(handle.clone());
            flow.delivery_count = Some(delivery_count);
            flow.link_credit = Some(credit);
        }
        ctx.put(self.channel, &flow)
    }
}

impl Outgoing {
    /// Takes over the credit a `flow` grants. It is relative to the deliveries the client had seen;
    /// those sent since are already part of it.
    pub(super) fn take_credit(&mut self, flow: &Flow) {
        if let Some(link_credit) = flow.link_credit {
            let seen = flow.delivery_count.unwrap_or(0);
            let since = self.delivery_count.wrapping_sub(seen);
            self.credit = link_credit.saturating_sub(since);
        }
        self.drain = flow.drain;
    }

    /// Whether the lock on its session has run out.
    fn has_lost_session(&self) -> bool {
        match &self.source {
            Source::Queue {
                entity,
                consumer,
                session: Some(id),
                ..
            } => entity.with(|queue, now| queue.session_held(id, &[*consumer], now).is_err()),
            _ => false,
        }
    }

    /// Takes the next message for this link, or gets in line for it.
    fn next(&mut self) -> Result<Next, Failure> {
        match &mut self.source {
            Source::Replies { held, .. } => Ok(held.pop_front().map_or(Next::Nothing, Next::Reply)),
            Source::Queue {
                entity,
                sub,
                delete,
                consumer,
                waiting,
                session,
            } => {
                let entry = entity.with(|queue, now| {
                    if let Some(id) = session {
                        let token = (!*delete).then(Uuid::new_v4);
                        return queue.next_in_session(id, *consumer, token, now);
                    }
                    let entry = if *delete {
                        queue.take_next(*sub, now)
                    } else {
                        queue.lock_next(*sub, Uuid::new_v4(), now)
                    };
                    if entry.is_none() {
                        // Under the same lock as the look into the queue, so that a message that
                        // comes right after it finds this receiver in line.
                        queue.wait(*sub, *consumer);
                    }
                    entry
                });
                let Some(entry) = entry else {
                    *waiting = true;
                    return Ok(Next::Nothing);
                };
                let bytes = delivery::encode(&entry)?;
                Ok(Next::Message {
                    bytes,
                    lock: entry.lock.map(|lock| lock.token),
                })
            }
        }
    }

    /// Gets out of the queue's line, passing on a wake that may be under way.
    fn stop_waiting(&mut self) {
        if let Source::Queue {
            entity,
            sub,
            consumer,
            waiting,
            session,
            ..
        } = &mut self.source
            && std::mem::take(waiting)
        {
            entity.with(|queue, _| match session {
                Some(id) => queue.leave_session(id, *consumer),
                None => queue.leave(*sub, *consumer),
            });
        }
    }
}

fn transfer(handle: u32, tag: &[u8], settled: bool) -> Transfer {
    Transfer {
        handle: Handle(handle),
        delivery_id: None,
        delivery_tag: Some(Binary::from(tag)),
        message_format: Some(0),
        settled: Some(settled),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}
