//! The connections of the present, so that a test can find and disturb them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::bus::fault::{ConnectionView, Disturbance, Whom};

/// What a connection is told to do to itself.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) what: Disturbance,
    /// Links to this entity only, where that makes a difference.
    pub(super) entity: Option<String>,
}

/// All connections that have got as far as AMQP.
#[derive(Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    connections: BTreeMap<u64, Registered>,
}

#[derive(Debug)]
struct Registered {
    tell: UnboundedSender<Command>,
    view: ConnectionView,
}

/// A connection's place in the registry; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Membership {
    id: u64,
    registry: Arc<Mutex<Inner>>,
}

impl Registry {
    pub(super) fn join(
        &self,
        peer: Option<SocketAddr>,
    ) -> (Membership, UnboundedReceiver<Command>) {
        let (tell, commands) = unbounded_channel();
        let mut inner = lock(&self.0);
        inner.last += 1;
        let id = inner.last;
        tracing::trace!(connection = id, client.address = ?peer, "A connection speaks AMQP");
        let view = ConnectionView {
            connection: id,
            client: String::new(),
            entities: Vec::new(),
        };
        inner.connections.insert(id, Registered { tell, view });
        drop(inner);
        let registry = Arc::clone(&self.0);
        (Membership { id, registry }, commands)
    }

    pub(crate) fn views(&self) -> Vec<ConnectionView> {
        let inner = lock(&self.0);
        inner
            .connections
            .values()
            .map(|one| one.view.clone())
            .collect()
    }

    /// Disturbs the connections that `whom` names; how many were told.
    pub(crate) fn disturb(&self, whom: &Whom, what: &Disturbance) -> usize {
        let command = Command {
            what: what.clone(),
            entity: whom.entity.as_ref().map(|name| name.to_lowercase()),
        };
        let inner = lock(&self.0);
        let told = inner.connections.values().filter(|one| {
            let view = &one.view;
            whom.connection.is_none_or(|id| id == view.connection)
                && whom.client.as_ref().is_none_or(|id| *id == view.client)
                && command
                    .entity
                    .as_ref()
                    .is_none_or(|name| view.entities.contains(name))
                && one.tell.send(command.clone()).is_ok()
        });
        told.count()
    }
}

impl Membership {
    pub(super) fn opened(&self, client: &str) {
        if let Some(one) = lock(&self.registry).connections.get_mut(&self.id) {
            one.view.client = client.to_owned();
        }
    }

    pub(super) fn attached_to(&self, entities: Vec<String>) {
        if let Some(one) = lock(&self.registry).connections.get_mut(&self.id) {
            one.view.entities = entities;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        lock(&self.registry).connections.remove(&self.id);
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
