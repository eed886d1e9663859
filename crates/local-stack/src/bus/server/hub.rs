//! What all connections of a broker share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::entity::{Clock, Entity};
use crate::bus::config::BrokerConfig;
use crate::bus::queue::Queue;
use crate::bus::queue::waiters::ConsumerId;

/// The entities of a broker, and the means to reach its connections.
///
/// Faults to inject for tests (delayed settlements, locks lost on demand, refused tokens) belong
/// here, where every connection can ask for them.
pub(crate) struct Hub {
    entities: HashMap<String, Arc<Entity>>,
    pub(crate) max_message_size: usize,
    next_consumer: AtomicU64,
    /// Cancelled when the broker stops.
    pub(crate) stop: CancellationToken,
    /// Cancelled, and replaced, when all present connections are to be dropped.
    connections: Mutex<CancellationToken>,
}

impl Hub {
    pub(crate) fn new(config: BrokerConfig, clock: &Clock) -> Self {
        let entities = config
            .queues
            .into_iter()
            .map(|queue| {
                let name = queue.name.clone();
                let key = name.to_lowercase();
                (
                    key,
                    Arc::new(Entity::new(name, Queue::new(queue), Arc::clone(clock))),
                )
            })
            .collect();
        Hub {
            entities,
            max_message_size: config.max_message_size,
            next_consumer: AtomicU64::new(0),
            stop: CancellationToken::new(),
            connections: Mutex::default(),
        }
    }

    /// The entity of that name, whatever its case.
    pub(crate) fn entity(&self, name: &str) -> Option<&Arc<Entity>> {
        self.entities.get(&name.to_lowercase())
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.entities.values()
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
