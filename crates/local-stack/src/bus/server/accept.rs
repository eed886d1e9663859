//! Attaching to a session: one that is named, or the next that is to be had, for which the attach is
//! held until there is one or the client's patience ends.
//!
//! The filter and the link's properties are those of Azure.Messaging.ServiceBus (`AmqpReceiver`)
//! and azure-servicebus for Python (`_servicebus_session.py`).

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp_types::definitions::{AmqpError, Error, Fields, SenderSettleMode};
use fe2o3_amqp_types::messaging::FilterSet;
use fe2o3_amqp_types::performatives::{Attach, Flow};
use serde_amqp::Value;
use serde_amqp::primitives::Symbol;
use time::OffsetDateTime;

use super::address::Address;
use super::attach::{find, mirror, parse, receiver_reply};
use super::context::Context;
use super::entity::Entity;
use super::failure::{Failure, custom, error};
use super::link::{Link, Outgoing, Source};
use super::session::Session;
use crate::bus::queue::SubQueue;
use crate::bus::queue::session_requests::SessionError;
use crate::bus::queue::sessions::SessionId;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::wire::values;

pub(super) const SESSION_LOCK_LOST: &str = "com.microsoft:session-lock-lost";
const SESSION_CANNOT_BE_LOCKED: &str = "com.microsoft:session-cannot-be-locked";
const TIMEOUT: &str = "com.microsoft:timeout";
const SESSION_FILTER: &str = "com.microsoft:session-filter";
const LOCKED_UNTIL: &str = "com.microsoft:locked-until-utc";
/// How long the service looks for a session when the client does not say.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Which session a client asks for.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Named(SessionId),
    Next,
}

/// An attach that waits for a session.
pub(super) struct Accepting {
    attach: Attach,
    ask: Ask,
    pub(super) entity: Arc<Entity>,
    pub(super) consumer: ConsumerId,
    /// Until when a next session is looked for.
    deadline: OffsetDateTime,
    /// Credit that the client granted before it was answered.
    pub(super) flow: Option<Flow>,
}

/// Which session the attach of a receiver asks for; `None` for one without sessions.
pub(super) fn asked(attach: &Attach) -> Option<Ask> {
    let filter = attach.source.as_ref()?.filter.as_ref()?;
    let (_, value) = filter
        .iter()
        .find(|(key, _)| key.as_str() == SESSION_FILTER)?;
    let value = match value {
        Value::Described(described) => &described.value,
        plain => plain,
    };
    Some(match values::text(value) {
        Some(id) => Ask::Named(SessionId::from(id)),
        None => Ask::Next,
    })
}

/// Its session is another's now, or nobody's. In the service's words.
pub(super) fn session_lost() -> Error {
    custom(SESSION_LOCK_LOST, SessionError::LockLost.to_string())
}

impl Session {
    /// A receiver that asks for a session.
    pub(super) fn on_session_attach(
        &mut self,
        ctx: &mut Context,
        attach: Attach,
        ask: Ask,
    ) -> Result<(), Failure> {
        let entity = match entity_with_sessions(ctx, &attach) {
            Ok(entity) => entity,
            Err(reason) => return self.refuse(ctx, attach, reason),
        };
        let handle = attach.handle.0;
        let consumer = ctx.hub.next_consumer();
        entity.join(consumer, ctx.wake.clone());
        ctx.consumers.insert(consumer, (self.channel, handle));
        let deadline = entity.with(|_, now| now + patience(&attach));
        let accepting = Accepting {
            attach,
            ask,
            entity,
            consumer,
            deadline,
            flow: None,
        };
        self.links
            .insert(handle, Link::Accepting(Box::new(accepting)));
        self.try_accept(ctx, handle)
    }

    /// Looks for the session that a held attach waits for.
    pub(super) fn try_accept(&mut self, ctx: &mut Context, handle: u32) -> Result<(), Failure> {
        let accepting = match self.links.remove(&handle) {
            Some(Link::Accepting(accepting)) => accepting,
            Some(other) => {
                self.links.insert(handle, other);
                return Ok(());
            }
            None => return Ok(()),
        };
        match accepting.accept() {
            Ok(Some((id, until))) => self.grant_session(ctx, *accepting, id, until),
            Ok(None) => {
                self.links.insert(handle, Link::Accepting(accepting));
                Ok(())
            }
            Err(reason) => {
                ctx.consumers.remove(&accepting.consumer);
                accepting.entity.part(SubQueue::Main, accepting.consumer);
                self.refuse(ctx, accepting.attach, reason)
            }
        }
    }

    fn grant_session(
        &mut self,
        ctx: &mut Context,
        accepting: Accepting,
        id: SessionId,
        until: OffsetDateTime,
    ) -> Result<(), Failure> {
        let Accepting {
            attach,
            entity,
            consumer,
            flow,
            ..
        } = accepting;
        let handle = attach.handle.0;
        let mut outgoing = Outgoing::of(Source::Queue {
            entity,
            sub: SubQueue::Main,
            delete: attach.snd_settle_mode == SenderSettleMode::Settled,
            consumer,
            waiting: false,
            session: Some(Arc::clone(&id)),
        });
        let has_credit = flow.is_some();
        if let Some(flow) = flow {
            outgoing.take_credit(&flow);
        }
        ctx.session_links.insert(attach.name.clone(), consumer);
        let mut reply = receiver_reply(&attach);
        let mut filter = FilterSet::new();
        filter.insert(Symbol::from(SESSION_FILTER), Value::String(id.to_string()));
        if let Some(source) = &mut reply.source {
            source.filter = Some(filter);
        }
        let mut properties = reply.properties.take().unwrap_or_default();
        properties.insert(Symbol::from(LOCKED_UNTIL), Value::Long(ticks(until)));
        reply.properties = Some(properties);
        ctx.put(self.channel, &reply)?;
        self.links.insert(handle, Link::Outgoing(outgoing));
        self.begins_use(ctx, handle);
        if has_credit {
            self.pump(ctx, handle)?;
        }
        Ok(())
    }

    /// The link ends before its attach was answered: the client gets the attach it waits for, without
    /// termini.
    pub(super) fn abandon_attach(
        &mut self,
        ctx: &mut Context,
        accepting: &Accepting,
    ) -> Result<(), Failure> {
        let mut reply = mirror(&accepting.attach);
        reply.initial_delivery_count = Some(0);
        ctx.put(self.channel, &reply)
    }
}

impl Accepting {
    fn accept(&self) -> Result<Option<(SessionId, OffsetDateTime)>, Error> {
        self.entity.with(|queue, now| match &self.ask {
            Ask::Named(id) => match queue.accept_session(id, self.consumer, now) {
                Ok(until) => Ok(Some((Arc::clone(id), until))),
                Err(taken) => Err(custom(SESSION_CANNOT_BE_LOCKED, taken.to_string())),
            },
            Ask::Next => match queue.accept_next_session(self.consumer, self.deadline, now) {
                None if now >= self.deadline => {
                    let text = "The operation did not complete within the allotted timeout: no \
                                session became available.";
                    Err(custom(TIMEOUT, text))
                }
                accepted => Ok(accepted),
            },
        })
    }
}

fn entity_with_sessions(ctx: &Context, attach: &Attach) -> Result<Arc<Entity>, Error> {
    let address = attach
        .source
        .as_ref()
        .and_then(|source| source.address.as_deref());
    if let Address::Entity {
        name,
        sub,
        management: false,
    } = parse(address)?
    {
        let entity = find(ctx, &name)?;
        if entity.with(|queue, _| queue.has_sessions(sub)) {
            return Ok(entity);
        }
    }
    // In the service's words.
    let text = "A sessionful message receiver cannot be created on an entity that does not require \
                sessions. Ensure RequiresSession is set to true when creating a Queue or \
                Subscription to enable sessionful behavior.";
    Err(error(AmqpError::NotAllowed, text))
}

fn patience(attach: &Attach) -> Duration {
    let asked = |properties: &Fields| {
        let millis = values::integer(properties.get(&Symbol::from(TIMEOUT))?)?;
        u64::try_from(millis).ok().map(Duration::from_millis)
    };
    let asked = attach.properties.as_ref().and_then(asked);
    asked.unwrap_or(DEFAULT_PATIENCE)
}

/// A moment as .NET counts: in tenths of microseconds since the year 1.
fn ticks(moment: OffsetDateTime) -> i64 {
    const UNIX_EPOCH: i64 = 621_355_968_000_000_000;
    let since_1970 = moment.unix_timestamp_nanos() / 100;
    i64::try_from(since_1970).map_or(i64::MAX, |ticks| ticks.saturating_add(UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::ticks;

    #[test]
    fn ticks_are_those_of_dotnet() {
        // `new DateTime(2026, 1, 5, 8, 0, 0, DateTimeKind.Utc).Ticks`
        assert_eq!(
            ticks(datetime!(2026-01-05 08:00 UTC)),
            639_031_968_000_000_000
        );
    }
}
