//! A stand-in for the Azure Functions host (v4): runs a packaged custom-handler app.
//!
//! It starts the app's executable as a child process, exactly as the host does, waits until it answers,
//! feeds it messages and timer ticks over HTTP, and settles by the answer. It is faithful above all where
//! the host is unforgiving: an empty success hangs, exit code 0 is never restarted, the third crash stops
//! the host, a function timeout kills the process with everything it is doing, and the end is SIGKILL.
//!
//! Modelled: Service Bus triggers on queues and subscriptions, one by one, in batches and in sessions,
//! Service Bus outputs, timers, HTTP triggers (requests forwarded or not; keys are not looked at), retry
//! policies, connections by key and by identity, and `AzureWebJobsStorage` (a real account or Azurite) for
//! the timers. Refused with an error: other bindings, batches of sessions, dynamic concurrency.
//!
//! Layout: `config` reads the package, `encode` writes invocations (pure), `process` runs the child,
//! `invoke` does one invocation, `trigger` listens, `storage` and `identity` reach Azure, `instance` ties
//! one host instance together, `fleet` runs several of one app.

mod config;
mod encode;
mod fleet;
mod identity;
mod instance;
mod invoke;
mod options;
mod process;
mod storage;
mod trigger;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use config::{App, Settings};
pub use config::{AppError, Refusal, connection_names, examine, host_json, time_span};
pub use fleet::Fleet;
use instance::{Controls, Instance, Site};
pub use invoke::Invocations;
pub use options::HostConfig;
use process::{Command, Ended, HandlerState, Log};
pub use process::{LineLevel, LineSink, LineSource, LogLine};
use storage::{Account, Blobs};
use trigger::{TimerRecords, TimerStorage};

/// The pause before the platform starts a new host after one has stopped itself.
const HOST_RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The packaged app is wrong.
    #[error(transparent)]
    App(#[from] AppError),
    /// The port for HTTP functions could not be had.
    #[error("cannot listen on 127.0.0.1:{port} for the HTTP functions")]
    HttpPort {
        /// The port asked for; 0 means any.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// There was no port for the handler.
    #[error("no free port for the handler")]
    Port(#[source] std::io::Error),
    /// The identity of a connection cannot sign in here.
    #[error(
        "connection {connection} signs in by identity, and this machine offers none: set AZURE_TENANT_ID, \
         AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or sign in with `az login`"
    )]
    Identity {
        /// The connection's name.
        connection: String,
        /// What the identity library said.
        source: service_bus::BoxError,
    },
    /// There is no client for `AzureWebJobsStorage`.
    #[error("AzureWebJobsStorage cannot be reached from here")]
    Storage(#[source] service_bus::BoxError),
}

/// Where a host stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostState {
    /// The handler has not answered yet; invocations wait.
    Starting,
    /// The handler answered.
    Ready,
    /// The handler ended with exit code 0: it is not restarted, and every invocation fails.
    HandlerGone,
    /// The host stopped itself, and no new one was started.
    HostStopped {
        /// What made it stop.
        reason: String,
    },
    /// [`Host::stop`] was called.
    Stopped,
}

/// A running host. Dropping it kills the handler at once.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    site: Site,
    controls: Mutex<Controls>,
    /// `Some` once the host is over.
    over: watch::Sender<Option<HostState>>,
    host_restarts: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn controls(&self) -> MutexGuard<'_, Controls> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Checks the app and starts its handler and listeners. Does not wait for the handler: messages
    /// do that by themselves, tests call [`Host::ready`].
    ///
    /// # Errors
    /// When the app or its settings are wrong, naming file and key.
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        let timers = timer_storage(&config)?;
        Self::start_with(config, timers).await
    }

    /// [`Host::start`] with storage that other instances of the app share.
    async fn start_with(config: HostConfig, timers: TimerStorage) -> Result<Self, HostError> {
        let settings = Settings::new(config.settings);
        let app = App::load(&config.app_dir, &settings)?;
        let mut site = Site::new(app, settings, timers, Log::new(config.on_line))?;
        site.own_process_group = config.own_process_group;
        let mut http = None;
        if site.app.http_functions().next().is_some() {
            let port = config.http_port;
            let failed = |source| HostError::HttpPort { port, source };
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
            let socket = socket.map_err(failed)?;
            site.http_addr = Some(socket.local_addr().map_err(failed)?);
            http = Some(Arc::new(socket));
        }
        site.announce();
        let stop = CancellationToken::new();
        let (instance, controls) = Instance::new(&site, stop.clone())?;
        let shared = Arc::new(Shared {
            site,
            controls: Mutex::new(controls),
            over: watch::Sender::new(None),
            host_restarts: AtomicU64::new(0),
        });
        let run = run(
            Arc::clone(&shared),
            instance,
            http,
            stop.clone(),
            config.restart_host,
        );
        Ok(Self {
            shared,
            stop,
            task: Some(tokio::spawn(run)),
        })
    }

    /// Where the host stands now.
    pub fn state(&self) -> HostState {
        if let Some(over) = self.shared.over.borrow().clone() {
            return over;
        }
        let state = self.shared.controls().state.borrow().clone();
        match state {
            HandlerState::Ready(_) => HostState::Ready,
            HandlerState::Gone(_) => HostState::HandlerGone,
            // Between two host instances nothing is ready either.
            HandlerState::Starting | HandlerState::Stopped => HostState::Starting,
        }
    }

    /// Waits until the handler is ready, or until it is certain that it will not be.
    ///
    /// # Errors
    /// The state the host is in instead.
    pub async fn ready(&self) -> Result<(), HostState> {
        let mut over = self.shared.over.subscribe();
        loop {
            let mut handler = self.shared.controls().state.clone();
            handler.mark_unchanged();
            match self.state() {
                HostState::Ready => return Ok(()),
                HostState::Starting => {}
                other => return Err(other),
            }
            tokio::select! {
                changed = handler.changed() => if changed.is_err() {
                    // This instance is over and the next one is not there yet.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                },
                _ = over.changed() => {}
            }
        }
    }

    /// The handler's process id, while one runs.
    pub fn handler_pid(&self) -> Option<u32> {
        self.shared.site.stats.pid()
    }

    /// Where its HTTP functions are called, if it has any.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.shared.site.http_addr
    }

    /// The port of the handler in the present host instance.
    pub fn handler_port(&self) -> u16 {
        self.shared.controls().port
    }

    /// Sends SIGKILL to the handler, as the out-of-memory killer would. What follows is up to the exit
    /// rules: three of these within half an hour of each other stop the host.
    pub fn kill_handler(&self) {
        // Fails only when the instance is over, and the handler with it.
        let _ = self.shared.controls().commands.send(Command::Kill);
    }

    /// How often the handler was started again, whatever for, over all host instances.
    pub fn handler_restarts(&self) -> u64 {
        self.shared.site.stats.restarts()
    }

    /// How often a new host instance was started.
    pub fn host_restarts(&self) -> u64 {
        self.shared.host_restarts.load(Ordering::SeqCst)
    }

    /// Invocations of all functions, over all host instances.
    pub fn invocations(&self) -> Invocations {
        let counts = self.shared.site.counters.by_function();
        counts
            .into_values()
            .fold(Invocations::default(), Invocations::plus)
    }

    /// Invocations of one function.
    pub fn invocations_of(&self, function: &str) -> Invocations {
        let counts = self.shared.site.counters.by_function();
        counts.get(function).copied().unwrap_or_default()
    }

    /// The newest lines of the log, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.shared.site.log.lines()
    }

    /// Stops as the host does: no new messages, up to ten seconds for those under way, then SIGKILL.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // An error would be a panic in it, which has been printed.
            let _ = task.await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Not the token: it would let the listeners drain in the background.
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// What the app's timers remember their runs in.
fn timer_storage(config: &HostConfig) -> Result<TimerStorage, HostError> {
    let settings = Settings::new(config.settings.clone());
    let Some(account) = Account::from_settings(&settings)? else {
        let folder = config.state_dir.as_ref().map(|dir| dir.join("timers"));
        return Ok(TimerStorage::local(TimerRecords::new(folder)));
    };
    let blobs = Blobs::new(account).map_err(|error| HostError::Storage(error.into()))?;
    Ok(TimerStorage::Blobs {
        blobs,
        host_id: settings.host_id(&config.app_dir),
    })
}

/// Runs host instances, one after the other.
///
/// The socket of the HTTP functions is kept open between two of them: who calls meanwhile waits for the
/// next. It is closed before anybody hears that the host is over, because nobody would answer them then.
async fn run(
    shared: Arc<Shared>,
    mut instance: Instance,
    http: Option<Arc<TcpListener>>,
    stop: CancellationToken,
    restart: bool,
) {
    loop {
        let reason = match instance.run(http.clone()).await {
            Ended::Asked => {
                drop(http);
                shared.over.send_replace(Some(HostState::Stopped));
                return;
            }
            Ended::TooManyErrors(reason) => reason,
        };
        shared
            .site
            .log
            .host(LineLevel::Error, format!("the host stops: {reason}"));
        let next = if restart {
            tokio::select! {
                () = stop.cancelled() => None,
                () = tokio::time::sleep(HOST_RESTART_PAUSE) => Instance::new(&shared.site, stop.clone()).ok(),
            }
        } else {
            None
        };
        let Some((next, controls)) = next else {
            drop(http);
            shared
                .over
                .send_replace(Some(HostState::HostStopped { reason }));
            return;
        };
        *shared.controls() = controls;
        shared.host_restarts.fetch_add(1, Ordering::SeqCst);
        shared.site.stats.count_restart();
        instance = next;
    }
}
