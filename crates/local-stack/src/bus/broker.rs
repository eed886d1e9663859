//! A running broker.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{BrokerConfig, ConfigError};
use super::durable::{self, Data, DataError, Progress};
use super::hooks::Hooks;
use super::queue::SubQueue;
use super::security::LOCAL_KEY;
use super::server::connection;
use super::server::entity::{Entity, system_clock};
use super::server::hub::Hub;
use super::view::{Counters, MessageView, QueueCounts, QueueSnapshot};

/// Connections have this long to end when the broker stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait when the system refuses new sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A Service Bus namespace on a local port. Stops when it is dropped.
pub struct Broker {
    hub: Arc<Hub>,
    addr: SocketAddr,
    tasks: TaskTracker,
}

impl Broker {
    /// Starts listening.
    ///
    /// # Errors
    /// When the configuration asks for something this broker does not do, or the address is taken.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        config.check()?;
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| StartError::Listen {
                addr: listen,
                source,
            })?;
        let addr = listener.local_addr().map_err(|source| StartError::Listen {
            addr: listen,
            source,
        })?;
        let data = match config.data.clone() {
            Some(dir) => Some(open(dir).await?),
            None => None,
        };
        let hub = Arc::new(Hub::new(config, &system_clock(), data)?);
        let tasks = TaskTracker::new();
        if let Some(journal) = &hub.journal {
            tasks.spawn(stop_when_broken(journal.progress(), hub.stop.clone()));
        }
        for entity in hub.entities() {
            tasks.spawn(Arc::clone(entity).keep_time(hub.stop.clone()));
        }
        tasks.spawn(accept(listener, Arc::clone(&hub), tasks.clone()));
        Ok(Broker { hub, addr, tasks })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A connection string for it, as the official clients and `service-bus` take them. Its key is
    /// among those of [`Security::default`](super::Security).
    pub fn connection_string(&self) -> String {
        let host = match self.addr.ip() {
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            std::net::IpAddr::V4(ip) => ip.to_string(),
        };
        format!(
            "Endpoint=sb://{host}:{};SharedAccessKeyName=RootManageSharedAccessKey;\
             SharedAccessKey={LOCAL_KEY};UseDevelopmentEmulator=true;",
            self.addr.port()
        )
    }

    /// The names of its queues, in no particular order.
    pub fn queues(&self) -> Vec<String> {
        self.names(|entity| !entity.is_topic() && entity.rules().is_none())
    }

    /// The names of its topics, in no particular order.
    pub fn topics(&self) -> Vec<String> {
        self.names(Entity::is_topic)
    }

    /// The paths of its subscriptions (`topic/Subscriptions/name`), in no particular order. Wherever
    /// a queue's name is asked for, such a path names the subscription, and a topic's name the topic.
    pub fn subscriptions(&self) -> Vec<String> {
        self.names(|entity| entity.rules().is_some())
    }

    /// Every message of a queue; `None` if there is no such queue.
    pub fn snapshot(&self, queue: &str) -> Option<QueueSnapshot> {
        let (main, dead) = self.entity(queue)?.with(|queue, now| {
            queue.advance(now);
            let main: Vec<_> = queue.entries(SubQueue::Main).cloned().collect();
            let dead: Vec<_> = queue.entries(SubQueue::DeadLetter).cloned().collect();
            (main, dead)
        });
        let mut snapshot = QueueSnapshot::default();
        main.iter().for_each(|entry| snapshot.add(entry));
        snapshot.dead_letter = dead.iter().map(MessageView::of).collect();
        Some(snapshot)
    }

    /// How many messages of a queue are where; `None` if there is no such queue. Cheap.
    pub fn counts(&self, queue: &str) -> Option<QueueCounts> {
        Some(self.entity(queue)?.with(|queue, now| {
            queue.advance(now);
            queue.counts()
        }))
    }

    /// What has happened in a queue so far; `None` if there is no such queue. Cheap.
    pub fn counters(&self, queue: &str) -> Option<Counters> {
        Some(self.entity(queue)?.with(|queue, now| {
            queue.advance(now);
            queue.counters
        }))
    }

    /// The means to make it misbehave.
    pub fn hooks(&self) -> Hooks {
        Hooks::of(&self.hub)
    }

    /// Breaks every present connection without a word, as a network failure would. Clients may
    /// connect again at once.
    pub fn drop_connections(&self) {
        self.hub.drop_connections();
    }

    /// Waits until the broker has stopped by itself, because its data cannot be written any more.
    pub async fn broken(&self) {
        self.hub.stop.cancelled().await;
    }

    /// Closes all connections and stops listening. Messages are gone with the broker, unless it has
    /// a data directory.
    pub async fn shutdown(self) {
        self.hub.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("The broker stopped before all of its connections had ended");
        }
        if let Some(journal) = self.hub.journal.clone() {
            let closed = tokio::task::spawn_blocking(move || journal.close());
            if let Err(error) = closed.await {
                tracing::warn!(error = %error, "The broker's data were not closed");
            }
        }
    }

    fn names(&self, is_wanted: impl Fn(&Entity) -> bool) -> Vec<String> {
        let wanted = self.hub.entities().filter(|entity| is_wanted(entity));
        wanted.map(|entity| entity.name.clone()).collect()
    }

    fn entity(&self, queue: &str) -> Option<&Arc<Entity>> {
        self.hub.entity(queue)
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.hub.stop.cancel();
    }
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot be served.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// Opens a data directory, away from the tasks that must not block.
async fn open(dir: PathBuf) -> Result<Data, DataError> {
    let file = dir.clone();
    tokio::task::spawn_blocking(move || durable::open(&dir))
        .await
        .unwrap_or_else(|panic| {
            // Bytes that nobody foresaw.
            Err(DataError::Damaged {
                file,
                problem: panic.to_string(),
            })
        })
}

async fn stop_when_broken(mut progress: watch::Receiver<Progress>, stop: CancellationToken) {
    tokio::select! {
        broken = progress.wait_for(|progress| progress.is_broken) => {
            if broken.is_ok() {
                stop.cancel();
            }
        }
        () = stop.cancelled() => {}
    }
}

async fn accept(listener: TcpListener, hub: Arc<Hub>, tasks: TaskTracker) {
    let stop: CancellationToken = hub.stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tracing::debug!(client.address = %peer, "A client connected");
                // Without it a request and its answer take 40 ms on loopback: Nagle's algorithm
                // waits for the delayed acknowledgement.
                if let Err(reason) = stream.set_nodelay(true) {
                    tracing::debug!(error = %reason, "TCP_NODELAY could not be set");
                }
                tasks.spawn(connection::serve(stream, Arc::clone(&hub)));
            }
            Err(reason) => {
                // Out of file handles, usually; others will be closed.
                tracing::warn!(error = %reason, "A connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
