//! What all connections of a broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::entity::{Clock, Entity};
use super::namespace;
use super::router::Router;
use crate::bus::config::BrokerConfig;
use crate::bus::queue::waiters::ConsumerId;

/// The entities of a broker, and the means to reach its connections.
///
/// Faults to inject for tests (delayed settlements, locks lost on demand, refused tokens) belong
/// here, where every connection can ask for them.
pub(crate) struct Hub {
    router: Arc<Router>,
    pub(crate) max_message_size: usize,
    next_consumer: AtomicU64,
    /// Cancelled when the broker stops.
    pub(crate) stop: CancellationToken,
    /// Cancelled, and replaced, when all present connections are to be dropped.
    connections: Mutex<CancellationToken>,
}

impl Hub {
    pub(crate) fn new(config: BrokerConfig, clock: &Clock) -> Self {
        Hub {
            router: namespace::build(config.queues, config.topics, clock),
            max_message_size: config.max_message_size,
            next_consumer: AtomicU64::new(0),
            stop: CancellationToken::new(),
            connections: Mutex::default(),
        }
    }

    /// The entity of that name, whatever its case.
    pub(crate) fn entity(&self, name: &str) -> Option<&Arc<Entity>> {
        self.router.entity(name)
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.router.entities().map(|(_, entity)| entity)
    }

    pub(crate) fn next_consumer(&self) -> ConsumerId {
        self.next_consumer.fetch_add(1, Ordering::Relaxed)
    }

    /// The token that ends a connection made now without a word.
    pub(crate) fn connection_token(&self) -> CancellationToken {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends all present connections without a word; later ones are not affected.
    pub(crate) fn drop_connections(&self) {
        let mut token = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *token).cancel();
    }
}
