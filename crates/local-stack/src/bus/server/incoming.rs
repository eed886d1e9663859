//! Messages from clients: put together from their frames, then enqueued or answered.

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, Error, LinkError, Role};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Rejected};
use fe2o3_amqp_types::performatives::{Disposition, Transfer};
use uuid::Uuid;

use super::context::Context;
use super::entity::Entity;
use super::failure::{Failure, NO_SESSION_ID, error, message_too_large, unattached_handle};
use super::link::{Incoming, Link, Partial, SEND_CREDIT, Target};
use super::request::{Reply, Request};
use super::session::Session;
use super::{cbs, management};
use crate::bus::queue::SubQueue;
use crate::bus::queue::message::Message;

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
        let (state, reply) = process(ctx, &incoming.target, &delivery);
        if !delivery.settled {
            self.settle_incoming(ctx, delivery.delivery_id, state)?;
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
    ) -> Result<(), Failure> {
        let disposition = Disposition {
            role: Role::Receiver,
            first: delivery_id,
            last: None,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        ctx.put(self.channel, &disposition)
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

fn process(
    ctx: &mut Context,
    target: &Target,
    delivery: &Partial,
) -> (DeliveryState, Option<Reply>) {
    let limit = target.limit(ctx.hub.max_message_size);
    if delivery.size > limit {
        // The link stays: clients go on sending on it.
        let reason = message_too_large(delivery.delivery_id, delivery.size, limit);
        return (
            DeliveryState::Rejected(Rejected {
                error: Some(reason),
            }),
            None,
        );
    }
    // Exactly as long as the message: what is stored shares this memory.
    let bytes = Bytes::copy_from_slice(&delivery.bytes);
    let result = match target {
        Target::Queue(entity) => {
            match Message::parse_transfer(delivery.format, &bytes, &mut Uuid::new_v4) {
                Ok(messages) => return (enqueue(entity, messages), None),
                Err(malformed) => Err(malformed),
            }
        }
        Target::Cbs => {
            Request::parse(&bytes).and_then(|request| cbs::answer(ctx, &request).map(Some))
        }
        Target::Management(entity, sub) => Request::parse(&bytes).and_then(|request| {
            let holders = ctx.session_holders(request.property("associated-link-name"));
            management::answer(entity, *sub, &request, &holders).map(Some)
        }),
    };
    match result {
        Ok(reply) => (DeliveryState::Accepted(Accepted {}), reply),
        Err(malformed) => {
            let reason = error(AmqpError::DecodeError, malformed.to_string());
            (
                DeliveryState::Rejected(Rejected {
                    error: Some(reason),
                }),
                None,
            )
        }
    }
}

/// All of a transfer's messages, or none.
fn enqueue(entity: &Entity, messages: Vec<Message>) -> DeliveryState {
    entity.with(|queue, now| {
        let is_complete = messages.iter().all(|message| message.session.is_some());
        if queue.has_sessions(SubQueue::Main) && !is_complete {
            return DeliveryState::Rejected(Rejected {
                error: Some(error(AmqpError::NotAllowed, NO_SESSION_ID)),
            });
        }
        for message in messages {
            queue.enqueue(message, now);
        }
        DeliveryState::Accepted(Accepted {})
    })
}
