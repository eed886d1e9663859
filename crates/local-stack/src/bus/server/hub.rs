//! What all connections of a broker share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::entity::{Clock, Entity, lock};
use super::namespace;
use super::registry::Registry;
use super::router::Router;
use crate::bus::config::BrokerConfig;
use crate::bus::durable::{Data, DataError, Journal};
use crate::bus::fault::{Hit, Operation, Script, Scripts};
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::security::{Security, covers};
use crate::bus::timeouts::Timeouts;

/// The entities of a broker, the means to reach its connections, and the faults that wait for them.
pub(crate) struct Hub {
    router: Arc<Router>,
    pub(crate) clock: Clock,
    /// Where changes are kept, if they are.
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) faults: Faults,
    pub(crate) registry: Registry,
    /// Until then connections are accepted, and nothing is said on them.
    silent_until: Mutex<Option<OffsetDateTime>>,
    pub(crate) max_message_size: usize,
    pub(crate) security: Option<Security>,
    pub(crate) timeouts: Timeouts,
    next_consumer: AtomicU64,
    /// Cancelled when the broker stops.
    pub(crate) stop: CancellationToken,
    /// Cancelled, and replaced, when all present connections are to be dropped.
    connections: Mutex<CancellationToken>,
}

impl Hub {
    /// What a broker starts with: its entities as they were, if there is data of theirs.
    ///
    /// # Errors
    /// When the data are of entities of other kinds.
    pub(crate) fn new(
        config: BrokerConfig,
        clock: &Clock,
        data: Option<Data>,
    ) -> Result<Self, DataError> {
        let journal = data.as_ref().map(|data| Arc::clone(&data.journal));
        let router = namespace::build(config.queues, config.topics, clock, data);
        let router = router.inspect_err(|_| {
            if let Some(journal) = &journal {
                // Others may open the directory as soon as this one is told.
                journal.close();
            }
        })?;
        Ok(Hub {
            router,
            clock: Arc::clone(clock),
            journal,
            faults: Faults::default(),
            registry: Registry::default(),
            silent_until: Mutex::default(),
            max_message_size: config.max_message_size,
            security: config.security,
            timeouts: config.timeouts,
            next_consumer: AtomicU64::new(0),
            stop: CancellationToken::new(),
            connections: Mutex::default(),
        })
    }

    /// The entity of that name, whatever its case.
    pub(crate) fn entity(&self, name: &str) -> Option<&Arc<Entity>> {
        self.router.entity(name)
    }

    /// Whether a token can be put for that path: of a subscription only the topic is looked at, and
    /// a path may be one that others begin with, as the namespace's own.
    pub(super) fn has(&self, path: &str) -> bool {
        let mut paths = self.router.entities().map(|(known, _)| known);
        let topic = path.split("/subscriptions/").next().unwrap_or_default();
        self.entity(topic).is_some() || paths.any(|known| covers(path, known))
    }

    pub(crate) fn entities(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.router.entities().map(|(_, entity)| entity)
    }

    pub(crate) fn next_consumer(&self) -> ConsumerId {
        self.next_consumer.fetch_add(1, Ordering::Relaxed)
    }

    /// Says nothing on new connections until then.
    pub(crate) fn be_silent(&self, until: OffsetDateTime) {
        *lock(&self.silent_until) = Some(until);
    }

    /// Until when nothing is said on new connections, unless that is over.
    pub(crate) fn silent_until(&self) -> Option<OffsetDateTime> {
        lock(&self.silent_until).filter(|until| *until > (self.clock)())
    }

    /// The token that ends a connection made now without a word.
    pub(crate) fn connection_token(&self) -> CancellationToken {
        lock(&self.connections).clone()
    }

    /// Ends all present connections without a word; later ones are not affected.
    pub(crate) fn drop_connections(&self) {
        std::mem::take(&mut *lock(&self.connections)).cancel();
    }
}

/// The scripts that wait for their operations. While there are none, asking costs next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    are_armed: AtomicBool,
    scripts: Mutex<Scripts>,
}

impl Faults {
    pub(crate) fn add(&self, script: Script) {
        let mut scripts = lock(&self.scripts);
        scripts.add(script);
        self.are_armed.store(!scripts.is_empty(), Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        let mut scripts = lock(&self.scripts);
        scripts.clear();
        self.are_armed.store(false, Ordering::Release);
    }

    pub(crate) fn pending(&self) -> Vec<Script> {
        lock(&self.scripts).pending()
    }

    pub(super) fn take(
        &self,
        operation: Operation,
        entity: &str,
        request: Option<&str>,
    ) -> Option<Hit> {
        if !self.are_armed.load(Ordering::Acquire) {
            return None;
        }
        let mut scripts = lock(&self.scripts);
        let hit = scripts.take(operation, entity, request);
        self.are_armed.store(!scripts.is_empty(), Ordering::Release);
        hit
    }
}
