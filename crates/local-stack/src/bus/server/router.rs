//! Carries messages that leave an entity by themselves to where they go: from a topic to its
//! subscriptions, and along `ForwardTo` and `ForwardDeadLetteredMessagesTo`.
//!
//! Departures are queued while their entity is still locked, so messages of one source keep their
//! order, and delivered after it has been let go, by one task at a time. So no two entities are ever
//! locked together, and a ring of forwarding queues locks up nobody. Whoever caused a departure
//! comes back only when it has arrived: a message is in its subscriptions when its sender is told
//! that it was accepted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use uuid::Uuid;

use super::entity::{Entity, lock};
use super::failure::full_text;
use crate::bus::filter::Subject;
use crate::bus::queue::departures::Departure;
use crate::bus::queue::{QueueFull, SubQueue};

/// Why a message could not be filtered; the service gives the exception's kind.
const FILTER_ERROR: &str = "FilterEvaluationException";

/// Where the messages leave to that do not stay, as keys of the router's entities.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// A queue's or subscription's one destination, or a topic's subscriptions.
    pub(crate) ready: Vec<String>,
    pub(crate) dead: Option<String>,
}

/// All entities of a broker by their lower-case paths, and the messages on their way between them.
#[derive(Default)]
pub(crate) struct Router {
    entities: OnceLock<HashMap<String, Arc<Entity>>>,
    transit: Mutex<VecDeque<Transit>>,
    /// Held by the task that delivers.
    turn: Mutex<()>,
}

struct Transit {
    departure: Departure,
    /// The entity it has left.
    source: Arc<str>,
    to: Arc<[String]>,
}

impl Router {
    /// Makes the entities known, once.
    pub(super) fn populate(&self, entities: HashMap<String, Arc<Entity>>) {
        // Only a new router is populated.
        let _ = self.entities.set(entities);
    }

    pub(super) fn entities(&self) -> impl Iterator<Item = (&String, &Arc<Entity>)> {
        self.entities.get().into_iter().flatten()
    }

    /// The entity of that path, whatever its case.
    pub(super) fn entity(&self, path: &str) -> Option<&Arc<Entity>> {
        self.entities.get()?.get(&path.to_lowercase())
    }

    /// Takes departures over. Called while their entity is locked.
    pub(super) fn take_over(&self, departures: Vec<Departure>, source: &str, routes: &Routes) {
        let source: Arc<str> = source.into();
        let ready: Arc<[String]> = routes.ready.clone().into();
        let dead: Arc<[String]> = routes.dead.iter().cloned().collect();
        lock(&self.transit).extend(departures.into_iter().map(|departure| Transit {
            to: Arc::clone(match departure.from {
                SubQueue::Main => &ready,
                SubQueue::DeadLetter => &dead,
            }),
            source: Arc::clone(&source),
            departure,
        }));
    }

    /// Delivers everything on its way, what sets out meanwhile included. Called with no entity
    /// locked.
    pub(super) fn deliver(&self) {
        let _turn = lock(&self.turn);
        loop {
            let next = lock(&self.transit).pop_front();
            let Some(transit) = next else {
                return;
            };
            let Departure {
                message,
                from,
                entry,
            } = transit.departure;
            let subject = Subject::new(message, entry.sequence, entry.enqueued_at);
            for path in transit.to.iter() {
                let Some(entity) = self.entity(path) else {
                    continue;
                };
                if let Err(full) = arrive(entity, &subject)
                    && let Some(source) = self.entity(&transit.source)
                {
                    let why = full_text(entity, &full);
                    source.with_unrouted(|queue, _| queue.take_back(from, entry.clone(), &why));
                }
            }
        }
    }
}

/// Lets a message in.
///
/// # Errors
/// When it was forwarded and there is no room for it. What a topic has taken has room in its
/// subscriptions.
fn arrive(entity: &Entity, subject: &Subject) -> Result<(), QueueFull> {
    let Some(rules) = entity.rules() else {
        let message = subject.message().clone();
        let elsewhere = entity.size_of_subscriptions();
        return entity.with_unrouted(|queue, now| {
            queue.check_room(elsewhere)?;
            queue.enqueue(message, now);
            Ok(())
        });
    };
    let copies = rules.with(|rules| rules.copies(subject, &mut Uuid::new_v4));
    entity.with_unrouted(|queue, now| {
        for copy in copies.accepted {
            queue.enqueue(copy, now);
        }
        if let Some((rule, error)) = copies.error
            && rules.dead_letter_errors
        {
            let why = format!("The rule '{rule}' could not be evaluated: {error}.");
            queue.reject(subject.message().clone(), FILTER_ERROR, &why, now);
        }
    });
    Ok(())
}
