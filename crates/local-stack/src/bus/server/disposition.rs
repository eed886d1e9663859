//! A client's verdicts on what it received.
//!
//! Each unsettled disposition is answered with the outcome the client asked for, or with the reason
//! why it had no effect: azure-servicebus for Python waits for an outcome of the same name, the
//! JavaScript SDK for any settlement, .NET turns `amqp:not-found` into a try over `$management`.

use fe2o3_amqp_types::definitions::{AmqpError, Error, Fields, Role};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Modified, Rejected, Released};
use fe2o3_amqp_types::performatives::Disposition;
use serde_amqp::Value;

use super::accept::session_lost;
use super::context::Context;
use super::disturbed::Course;
use super::failure::{Failure, custom, error};
use super::link::{Link, Outgoing, Source};
use super::session::Session;
use crate::bus::fault::Operation;
use crate::bus::queue::settle::{SettleError, Settlement};
use crate::bus::wire::values;

pub(super) const LOCK_LOST: &str = "com.microsoft:message-lock-lost";

impl Session {
    pub(super) fn on_disposition(
        &mut self,
        ctx: &mut Context,
        disposition: Disposition,
    ) -> Result<(), Failure> {
        if disposition.role == Role::Sender {
            // The client confirms what we have settled already.
            return Ok(());
        }
        let Some(state) = disposition.state.filter(DeliveryState::is_terminal) else {
            return Ok(());
        };
        let (first, last) = (
            disposition.first,
            disposition.last.unwrap_or(disposition.first),
        );
        if last < first {
            let text = format!("deliveries {first} to {last}");
            return Err(Failure::Session(error(AmqpError::InvalidField, text)));
        }
        let known: Vec<u32> = self
            .unsettled
            .range(first..=last)
            .map(|(id, _)| *id)
            .collect();
        let course = self.course_of_settlement(ctx, &known);
        if let Course::Ignore = course {
            return Ok(());
        }
        let mut answers = Answers::default();
        let mut next = Some(first);
        for id in known {
            // Whatever lies between known deliveries is unknown, as one range: a client may name
            // four billion deliveries in one frame.
            if let Some(gap) = next.filter(|next| *next < id) {
                answers.add(gap, id - 1, unknown_delivery());
            }
            if let Some(unsettled) = self.unsettled.get(&id) {
                self.is_used(ctx, unsettled.handle);
            }
            let answer = match &course {
                Course::Refuse(reason) => {
                    self.unsettled.remove(&id);
                    rejected(reason.clone())
                }
                _ => self.settle_delivery(id, &state),
            };
            answers.add(id, id, answer);
            next = id.checked_add(1);
        }
        if let Some(gap) = next.filter(|next| *next <= last) {
            answers.add(gap, last, unknown_delivery());
        }
        if disposition.settled || matches!(course, Course::Mute) {
            return Ok(());
        }
        for (first, last, state) in answers.0 {
            let reply = Disposition {
                role: Role::Sender,
                first,
                last: (last != first).then_some(last),
                settled: true,
                state: Some(state),
                batchable: false,
            };
            match course {
                Course::Late(delay) => ctx.put_late(delay, self.channel, &reply)?,
                _ => ctx.put(self.channel, &reply)?,
            }
        }
        Ok(())
    }

    /// What becomes of the settlement of these deliveries, which belong to one entity in practice.
    fn course_of_settlement(&self, ctx: &mut Context, known: &[u32]) -> Course {
        let unsettled = known.iter().filter_map(|id| self.unsettled.get(id));
        let held: Vec<_> = unsettled
            .filter_map(|unsettled| match self.links.get(&unsettled.handle) {
                Some(Link::Outgoing(Outgoing {
                    source: Source::Queue { entity, sub, .. },
                    ..
                })) => Some((entity, *sub, unsettled.token)),
                _ => None,
            })
            .collect();
        let Some((first, ..)) = held.first() else {
            return Course::Usual;
        };
        let course = ctx.course(Operation::Settle, &first.name, None);
        if let Course::LoseLock = course {
            for (entity, sub, token) in held {
                entity.with(|queue, now| queue.lose_lock(sub, token, now));
            }
        }
        course
    }

    /// Carries a verdict out; the answer to it.
    fn settle_delivery(&mut self, id: u32, state: &DeliveryState) -> DeliveryState {
        let Some(unsettled) = self.unsettled.remove(&id) else {
            return unknown_delivery();
        };
        let Some(Link::Outgoing(Outgoing {
            source:
                Source::Queue {
                    entity,
                    sub,
                    session,
                    consumer,
                    ..
                },
            ..
        })) = self.links.get(&unsettled.handle)
        else {
            return unknown_delivery();
        };
        let settlement = match settlement(state) {
            Ok(settlement) => settlement,
            Err(reason) => return rejected(reason),
        };
        let settled = entity.with(|queue, now| {
            let is_held = |id| queue.session_held(id, &[*consumer], now).is_ok();
            let has_lost_session = !session.as_deref().is_none_or(is_held);
            let settled = queue.settle(*sub, unsettled.token, &settlement, now);
            settled.map_err(|reason| (reason, has_lost_session))
        });
        match settled {
            Ok(()) => same_outcome(state),
            Err((_, true)) => rejected(session_lost()),
            Err((lost @ SettleError::LockLost, false)) => {
                rejected(custom(LOCK_LOST, lost.to_string()))
            }
            Err((refused @ SettleError::AlreadyDead, false)) => {
                rejected(error(AmqpError::NotAllowed, refused.to_string()))
            }
        }
    }
}

/// Answers to the deliveries of one disposition, equal neighbours put together.
#[derive(Default)]
struct Answers(Vec<(u32, u32, DeliveryState)>);

impl Answers {
    fn add(&mut self, first: u32, last: u32, state: DeliveryState) {
        match self.0.last_mut() {
            Some((_, end, same)) if *same == state => *end = last,
            _ => self.0.push((first, last, state)),
        }
    }
}

/// What an outcome means (Azure.Messaging.ServiceBus, `AmqpReceiver`; azure-servicebus for Python,
/// `_pyamqp_transport.py`).
fn settlement(state: &DeliveryState) -> Result<Settlement, Error> {
    match state {
        DeliveryState::Accepted(_) => Ok(Settlement::Complete),
        DeliveryState::Released(_) => Ok(Settlement::Abandon {
            properties: Vec::new(),
        }),
        DeliveryState::Modified(modified) => {
            let properties = properties(modified.message_annotations.as_ref());
            if modified.undeliverable_here == Some(true) {
                Ok(Settlement::Defer { properties })
            } else {
                Ok(Settlement::Abandon { properties })
            }
        }
        DeliveryState::Rejected(rejected) => {
            let info = rejected
                .error
                .as_ref()
                .and_then(|error| error.info.as_deref());
            let properties = properties(info);
            // The reason and its description are among them, under the names of the application
            // properties they become.
            Ok(Settlement::DeadLetter {
                reason: None,
                description: None,
                properties,
            })
        }
        DeliveryState::Received(_) => Err(error(
            AmqpError::NotImplemented,
            "links cannot be resumed at this broker",
        )),
    }
}

fn properties(fields: Option<&Fields>) -> Vec<(String, Value)> {
    let fields = fields.into_iter().flat_map(Fields::iter);
    fields
        .map(|(name, value)| (name.as_str().to_owned(), plain(value)))
        .collect()
}

/// Symbols are not among the types of application properties.
fn plain(value: &Value) -> Value {
    match value {
        Value::Symbol(_) => Value::String(values::text(value).unwrap_or_default().to_owned()),
        other => other.clone(),
    }
}

/// The outcome as the service repeats it: by name only.
fn same_outcome(state: &DeliveryState) -> DeliveryState {
    match state {
        DeliveryState::Rejected(_) => DeliveryState::Rejected(Rejected { error: None }),
        DeliveryState::Modified(_) => DeliveryState::Modified(Modified {
            delivery_failed: None,
            undeliverable_here: None,
            message_annotations: None,
        }),
        DeliveryState::Released(_) => DeliveryState::Released(Released {}),
        _ => DeliveryState::Accepted(Accepted {}),
    }
}

fn rejected(reason: Error) -> DeliveryState {
    DeliveryState::Rejected(Rejected {
        error: Some(reason),
    })
}

fn unknown_delivery() -> DeliveryState {
    rejected(error(
        AmqpError::NotFound,
        "the delivery is not known on this link",
    ))
}
