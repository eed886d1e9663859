//! Messages from clients: put together from their frames, then enqueued or answered.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, Error, LinkError, Role};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Rejected};
use fe2o3_amqp_types::performatives::{Disposition, Transfer};
use uuid::Uuid;

use super::context::Context;
use super::disturbed::Course;
use super::entity::Entity;
use super::failure::{
    Failure, NO_SESSION_ID, error, message_too_large, queue_full, unattached_handle,
};
use super::link::{Incoming, Link, Partial, SEND_CREDIT, Target};
use super::request::{Reply, Request};
use super::requests;
use super::session::Session;
use crate::bus::fault::Operation;
use crate::bus::queue::message::Message;
use crate::bus::queue::{QueueFull, SubQueue};

/// What becomes of a delivery that is complete.
enum Arrived {
    /// More frames are to come, or the client took it back.
    Nothing,
    Delivery(Partial),
    /// The link is at fault and gets detached.
    Detach(Error),
}

impl Session {
    /// One transfer frame. A request's answer comes back to the connection, which knows where the
    /// client wants it.
    pub(super) fn on_transfer(
        &mut self,
        ctx: &mut Context,
        transfer: Transfer,
        payload: &Bytes,
    ) -> Result<Option<Reply>, Failure> {
        let handle = transfer.handle.0;
        let limit = ctx.hub.max_message_size;
        let incoming = match self.links.get_mut(&handle) {
            Some(Link::Incoming(incoming)) => incoming,
            Some(Link::Detached) => return Ok(None),
            Some(Link::Outgoing(_) | Link::Accepting(_)) | None => {
                return Err(unattached_handle(handle));
            }
        };
        let delivery = match incoming.assemble(transfer, payload, limit) {
            Arrived::Nothing => return Ok(None),
            Arrived::Detach(reason) => {
                self.detach(ctx, handle, reason)?;
                return Ok(None);
            }
            Arrived::Delivery(delivery) => delivery,
        };
        incoming.delivery_count = incoming.delivery_count.wrapping_add(1);
        incoming.credit -= 1;
        let wants_credit = incoming.credit <= SEND_CREDIT / 2;
        let Processed { state, late, reply } = process(ctx, &incoming.target, &delivery);
        if !delivery.settled
            && let Some(state) = state
        {
            self.settle_incoming(ctx, delivery.delivery_id, state, late)?;
        }
        if wants_credit {
            self.grant_credit(ctx, handle)?;
        }
        Ok(reply)
    }

    /// The broker's verdict on a delivery. Settled at once, whatever receiver-settle-mode the
    /// client attached with: azure-servicebus for Python attaches its senders with `second` and
    /// still waits for exactly this.
    fn settle_incoming(
        &self,
        ctx: &mut Context,
        delivery_id: u32,
        state: DeliveryState,
        late: Duration,
    ) -> Result<(), Failure> {
        let disposition = Disposition {
            role: Role::Receiver,
            first: delivery_id,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        match late.is_zero() {
            true => ctx.put(self.channel, &disposition),
            false => ctx.put_late(late, self.channel, &disposition),
        }
    }
}

impl Incoming {
    /// Adds a frame to the delivery it belongs to.
    fn assemble(&mut self, transfer: Transfer, payload: &Bytes, limit: usize) -> Arrived {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => {
                if self.credit == 0 {
                    let text = "a transfer without credit";
                    return Arrived::Detach(error(LinkError::TransferLimitExceeded, text));
                }
                let Some(delivery_id) = transfer.delivery_id else {
                    let text = "a first transfer without a delivery-id";
                    return Arrived::Detach(error(AmqpError::InvalidField, text));
                };
                Partial {
                    delivery_id,
                    format: transfer.message_format.unwrap_or(0),
                    settled: false,
                    size: 0,
                    bytes: BytesMut::new(),
                }
            }
        };
        if transfer.aborted {
            return Arrived::Nothing;
        }
        partial.settled |= transfer.settled.unwrap_or(false);
        partial.size += payload.len();
        if partial.size > self.target.limit(limit) {
            partial.bytes.clear();
        } else {
            partial.bytes.extend_from_slice(payload);
        }
        if transfer.more {
            self.partial = Some(partial);
            return Arrived::Nothing;
        }
        Arrived::Delivery(partial)
    }
}

impl Target {
    /// The largest message it takes; requests wrap whole messages.
    fn limit(&self, message_limit: usize) -> usize {
        match self {
            Target::Queue(_) => message_limit,
            Target::Cbs | Target::Management(..) => 2 * message_limit,
        }
    }
}

/// What a delivery led to.
struct Processed {
    /// The verdict on it; `None` if the client shall wait in vain.
    state: Option<DeliveryState>,
    /// How much later than usual the verdict goes out.
    late: Duration,
    /// The answer to a request.
    reply: Option<Reply>,
}

impl Processed {
    fn accepted(reply: Option<Reply>) -> Self {
        Processed {
            state: Some(DeliveryState::Accepted(Accepted {})),
            late: Duration::ZERO,
            reply,
        }
    }

    fn rejected(reason: Error) -> Self {
        let error = Some(reason);
        Processed {
            state: Some(DeliveryState::Rejected(Rejected { error })),
            ..Processed::accepted(None)
        }
    }

    fn nothing() -> Self {
        Processed {
            state: None,
            ..Processed::accepted(None)
        }
    }
}

fn process(ctx: &mut Context, target: &Target, delivery: &Partial) -> Processed {
    let limit = target.limit(ctx.hub.max_message_size);
    if delivery.size > limit {
        // The link stays: clients go on sending on it.
        let reason = message_too_large(delivery.delivery_id, delivery.size, limit);
        return Processed::rejected(reason);
    }
    // Exactly as long as the message: what is stored shares this memory.
    let bytes = Bytes::copy_from_slice(&delivery.bytes);
    let result = match target {
        Target::Queue(entity) => {
            let course = ctx.course(Operation::Send, &entity.name, None);
            match course {
                Course::Ignore => return Processed::nothing(),
                Course::Refuse(reason) => return Processed::rejected(reason),
                _ => {}
            }
            let mut processed = send(entity, delivery.format, &bytes);
            match course {
                Course::Mute => processed.state = None,
                Course::Late(delay) => processed.late = delay,
                _ => {}
            }
            return processed;
        }
        Target::Cbs => {
            Request::parse(&bytes).and_then(|request| requests::put_token(ctx, &request))
        }
        Target::Management(entity, sub) => {
            Request::parse(&bytes).and_then(|request| requests::manage(ctx, entity, *sub, &request))
        }
    };
    match result {
        Ok(reply) => Processed::accepted(reply),
        Err(malformed) => Processed::rejected(error(AmqpError::DecodeError, malformed.to_string())),
    }
}

/// Enqueues a message, or all messages of a batch, or none.
fn send(entity: &Entity, format: u32, bytes: &Bytes) -> Processed {
    let messages = match Message::parse_transfer(format, bytes, &mut Uuid::new_v4) {
        Ok(messages) => messages,
        Err(malformed) => {
            return Processed::rejected(error(AmqpError::DecodeError, malformed.to_string()));
        }
    };
    let is_in_sessions = messages.iter().all(|message| message.session.is_some());
    if !is_in_sessions && entity.with(|queue, _| queue.has_sessions(SubQueue::Main)) {
        return Processed::rejected(error(AmqpError::NotAllowed, NO_SESSION_ID));
    }
    let elsewhere = entity.size_of_subscriptions();
    let enqueued = entity.with(|queue, now| {
        queue.check_room(elsewhere)?;
        for message in messages {
            queue.enqueue(message, now);
        }
        Ok::<(), QueueFull>(())
    });
    match enqueued {
        Ok(()) => Processed::accepted(None),
        Err(full) => Processed::rejected(queue_full(entity, &full)),
    }
}
