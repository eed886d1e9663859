//! Attaching links: which node a client means, and what it is told about the link.

use std::collections::VecDeque;
use std::sync::Arc;

use fe2o3_amqp_types::definitions::{
    AmqpError, Error, Handle, Role, SenderSettleMode, SessionError,
};
use fe2o3_amqp_types::messaging::{Target as TargetTerminus, TargetArchetype};
use fe2o3_amqp_types::performatives::{Attach, Detach};

use super::accept;
use super::address::Address;
use super::context::Context;
use super::disturbed::Course;
use super::entity::Entity;
use super::failure::{Failure, error, no_such_entity};
use super::link::{Incoming, Link, Outgoing, SEND_CREDIT, Source, Target};
use super::session::Session;
use crate::bus::fault::Operation;
use crate::bus::queue::SubQueue;
use crate::bus::security::Right;

/// What management and token nodes take: requests carry whole messages.
const REQUEST_SIZE: u64 = 1024 * 1024;

impl Session {
    pub(super) fn on_attach(&mut self, ctx: &mut Context, attach: Attach) -> Result<(), Failure> {
        let handle = attach.handle.0;
        if self.links.contains_key(&handle) {
            let text = format!("handle {handle} is in use");
            return Err(Failure::Session(error(SessionError::HandleInUse, text)));
        }
        let course = match parse(node(&attach)) {
            Ok(Address::Entity { name, .. }) => {
                let right = right(&attach);
                match ctx.course(Operation::Attach, &name, None) {
                    Course::Usual => ctx
                        .authorize(&name, right)
                        .map_or_else(Course::Refuse, |()| Course::Usual),
                    course => course,
                }
            }
            Ok(Address::Cbs) | Err(_) => Course::Usual,
        };
        match course {
            Course::Refuse(reason) => return self.refuse(ctx, attach, reason),
            Course::Ignore | Course::Mute => {
                self.links.insert(handle, Link::Detached);
                return Ok(());
            }
            Course::Usual | Course::Late(_) | Course::LoseLock => {}
        }
        if attach.role == Role::Receiver
            && let Some(ask) = accept::asked(&attach)
        {
            return self.on_session_attach(ctx, attach, ask);
        }
        let link = match attach.role {
            Role::Sender => incoming(ctx, &attach).map(Link::Incoming),
            Role::Receiver => outgoing(ctx, &attach).map(Link::Outgoing),
        };
        let link = match link {
            Ok(link) => link,
            Err(reason) => return self.refuse(ctx, attach, reason),
        };
        match &link {
            Link::Incoming(incoming) => {
                let mut reply = mirror(&attach);
                reply.source = attach.source.or_else(|| Some(Box::default()));
                reply.target = attach.target;
                reply.max_message_size = Some(match incoming.target {
                    Target::Queue(_) => ctx.hub.max_message_size as u64,
                    Target::Cbs | Target::Management(..) => REQUEST_SIZE,
                });
                ctx.put(self.channel, &reply)?;
                self.links.insert(handle, link);
                self.grant_credit(ctx, handle)?;
            }
            Link::Outgoing(outgoing) => {
                let reply = receiver_reply(&attach);
                if let Source::Queue {
                    entity, consumer, ..
                } = &outgoing.source
                {
                    entity.join(*consumer, ctx.wake.clone());
                    ctx.consumers.insert(*consumer, (self.channel, handle));
                }
                ctx.put(self.channel, &reply)?;
                self.links.insert(handle, link);
            }
            Link::Accepting(_) | Link::Detached => {}
        }
        Ok(())
    }

    /// Answers with an attach that has neither source nor target, then a detach with the reason:
    /// AMQP's way of refusing a link.
    pub(super) fn refuse(
        &mut self,
        ctx: &mut Context,
        attach: Attach,
        reason: Error,
    ) -> Result<(), Failure> {
        let mut reply = mirror(&attach);
        if attach.role == Role::Receiver {
            reply.initial_delivery_count = Some(0);
        }
        ctx.put(self.channel, &reply)?;
        let handle = attach.handle.0;
        self.links.insert(handle, Link::Detached);
        let detach = Detach {
            handle: Handle(handle),
            closed: true,
            error: Some(reason),
        };
        ctx.put(self.channel, &detach)
    }

    /// Brings a sending client's credit to its full amount.
    pub(super) fn grant_credit(&mut self, ctx: &mut Context, handle: u32) -> Result<(), Failure> {
        let mut flow = self.flow();
        let Some(Link::Incoming(incoming)) = self.links.get_mut(&handle) else {
            return Ok(());
        };
        incoming.credit = SEND_CREDIT;
        flow.handle = Some(Handle(handle));
        flow.delivery_count = Some(incoming.delivery_count);
        flow.link_credit = Some(SEND_CREDIT);
        ctx.put(self.channel, &flow)
    }
}

/// The answer to a receiver that is granted.
pub(super) fn receiver_reply(attach: &Attach) -> Attach {
    let mut reply = mirror(attach);
    reply.source = attach.source.clone();
    reply.target = attach
        .target
        .clone()
        .or_else(|| Some(Box::new(TargetArchetype::Target(TargetTerminus::default()))));
    reply.initial_delivery_count = Some(0);
    reply.max_message_size = attach.max_message_size;
    reply
}

/// The broker's end of a link before its termini are filled in.
pub(super) fn mirror(attach: &Attach) -> Attach {
    Attach {
        name: attach.name.clone(),
        handle: attach.handle.clone(),
        role: match attach.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        },
        snd_settle_mode: attach.snd_settle_mode.clone(),
        rcv_settle_mode: attach.rcv_settle_mode.clone(),
        source: None,
        target: None,
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: attach.properties.clone(),
    }
}

/// The address of the broker's end.
fn node(attach: &Attach) -> Option<&str> {
    match attach.role {
        Role::Sender => match attach.target.as_deref() {
            Some(TargetArchetype::Target(target)) => target.address.as_deref(),
            None => None,
        },
        Role::Receiver => attach
            .source
            .as_ref()
            .and_then(|source| source.address.as_deref()),
    }
}

/// What using the link takes.
fn right(attach: &Attach) -> Right {
    let is_management = matches!(
        parse(node(attach)),
        Ok(Address::Entity {
            management: true,
            ..
        })
    );
    match attach.role {
        _ if is_management => Right::Any,
        Role::Sender => Right::Send,
        Role::Receiver => Right::Listen,
    }
}

fn incoming(ctx: &Context, attach: &Attach) -> Result<Incoming, Error> {
    let target = match parse(node(attach))? {
        Address::Cbs => Target::Cbs,
        Address::Entity {
            name,
            sub,
            management,
        } => {
            let entity = find(ctx, &name)?;
            match (management, sub) {
                (true, sub) => Target::Management(entity, sub),
                (false, SubQueue::Main) if entity.rules().is_some() => {
                    let text = "messages are sent to a topic, not to its subscriptions";
                    return Err(error(AmqpError::NotAllowed, text));
                }
                (false, SubQueue::Main) => Target::Queue(entity),
                (false, SubQueue::DeadLetter) => {
                    let text = "messages cannot be sent to a dead-letter queue";
                    return Err(error(AmqpError::NotAllowed, text));
                }
            }
        }
    };
    Ok(Incoming {
        target,
        // .NET leaves its initial delivery count out; zero is meant.
        delivery_count: attach.initial_delivery_count.unwrap_or(0),
        credit: 0,
        partial: None,
    })
}

fn outgoing(ctx: &Context, attach: &Attach) -> Result<Outgoing, Error> {
    let node = parse(node(attach))?;
    let source = match &node {
        Address::Entity {
            name,
            sub,
            management: false,
        } => {
            let entity = find(ctx, name)?;
            if entity.with(|queue, _| queue.has_sessions(*sub)) {
                // In the service's words.
                let text = "It is not possible for an entity that requires sessions to create a \
                            non-sessionful message receiver.";
                return Err(error(AmqpError::NotAllowed, text));
            }
            Source::Queue {
                entity: receivable(entity, *sub)?,
                sub: *sub,
                delete: attach.snd_settle_mode == SenderSettleMode::Settled,
                consumer: ctx.hub.next_consumer(),
                waiting: false,
                session: None,
            }
        }
        Address::Entity {
            name,
            management: true,
            ..
        } => {
            find(ctx, name)?;
            replies(attach, node)
        }
        Address::Cbs => replies(attach, node),
    };
    Ok(Outgoing::of(source))
}

/// An entity from which messages can be received.
fn receivable(entity: Arc<Entity>, sub: SubQueue) -> Result<Arc<Entity>, Error> {
    let problem = if entity.is_topic() {
        "messages are received from the subscriptions of a topic, not from the topic"
    } else if sub == SubQueue::Main && entity.is_forwarding() {
        "nothing can be received from an entity with auto-forwarding enabled"
    } else {
        return Ok(entity);
    };
    let text = format!("'{}': {problem}", entity.name);
    Err(error(AmqpError::NotAllowed, text))
}

fn replies(attach: &Attach, node: Address) -> Source {
    let reply_to = match attach.target.as_deref() {
        Some(TargetArchetype::Target(target)) => target.address.clone(),
        None => None,
    };
    Source::Replies {
        node,
        reply_to,
        held: VecDeque::new(),
    }
}

pub(super) fn parse(address: Option<&str>) -> Result<Address, Error> {
    match address {
        Some(address) => Ok(Address::parse(address)),
        None => {
            let text = "links without an address, such as those to a transaction coordinator, are \
                        not supported by this broker";
            Err(error(AmqpError::NotImplemented, text))
        }
    }
}

pub(super) fn find(ctx: &Context, name: &str) -> Result<Arc<Entity>, Error> {
    ctx.hub
        .entity(name)
        .cloned()
        .ok_or_else(|| no_such_entity(name))
}
