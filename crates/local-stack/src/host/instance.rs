//! One host instance: a handler under supervision, and the listeners that feed it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service_bus::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::HostError;
use super::config::{App, AppError, Connection, Settings, TriggerConfig};
use super::encode::BusClient;
use super::identity;
use super::invoke::{Counters, Dispatcher, Outputs};
use super::process::{
    Command, Ended, HandlerState, HandlerStats, Launch, LineLevel, Log, Supervisor, free_port,
};
use super::trigger::{HttpListener, Schedule, ServiceBusListener, TimerListener, TimerStorage};

/// Lets a stopping host wait for all running invocations, as it does when the platform scales in.
const DRAIN: &str = "FUNCTIONS_ENABLE_DRAIN_ON_APP_STOPPING";
/// How long a stopping host waits for running invocations otherwise.
const STOP_WINDOW: Duration = Duration::from_secs(10);

/// Everything that outlives a host instance.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) app: App,
    pub(super) settings: Settings,
    pub(super) connections: BTreeMap<String, Connection>,
    pub(super) schedules: BTreeMap<String, Schedule>,
    pub(super) timers: TimerStorage,
    /// Where HTTP functions are called; none if there are none.
    pub(super) http_addr: Option<SocketAddr>,
    /// Names this instance among those of the app.
    pub(super) id: Uuid,
    pub(super) own_process_group: bool,
    pub(super) counters: Counters,
    pub(super) stats: Arc<HandlerStats>,
    pub(super) log: Log,
}

/// A way to the running instance.
#[derive(Clone)]
pub(super) struct Controls {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) state: watch::Receiver<HandlerState>,
    pub(super) port: u16,
}

/// An instance, ready to run.
pub(super) struct Instance {
    supervisor: Supervisor,
    dispatcher: Dispatcher,
    fatal: mpsc::UnboundedReceiver<String>,
    clients: BTreeMap<String, Client>,
    site: Site,
    stop: CancellationToken,
    /// Stops the supervisor, after the listeners.
    supervising: CancellationToken,
}

impl Site {
    /// Resolves what the app's bindings name, so that a missing setting is found before anything runs.
    pub(super) fn new(
        app: App,
        settings: Settings,
        timers: TimerStorage,
        log: Log,
    ) -> Result<Self, AppError> {
        let mut connections = BTreeMap::new();
        let mut schedules = BTreeMap::new();
        for function in &app.functions {
            let mut names: Vec<&str> = Vec::new();
            names.extend(
                function
                    .outputs
                    .iter()
                    .map(|output| output.connection.as_str()),
            );
            match &function.trigger {
                TriggerConfig::ServiceBus(config) => names.push(&config.connection),
                TriggerConfig::Http(_) => {}
                TriggerConfig::Timer(config) => {
                    let schedule = Schedule::parse(&config.schedule);
                    let schedule = schedule.ok_or_else(|| AppError::Function {
                        function: function.name.clone(),
                        reason: format!(
                            "schedule: {:?} is neither an NCRONTAB expression nor a time span",
                            config.schedule
                        ),
                    })?;
                    schedules.insert(function.name.clone(), schedule);
                }
            }
            for name in names {
                connections.insert(name.to_owned(), settings.connection(name)?);
            }
        }
        Ok(Self {
            app,
            settings,
            connections,
            schedules,
            timers,
            http_addr: None,
            id: Uuid::new_v4(),
            own_process_group: false,
            counters: Counters::default(),
            stats: Arc::default(),
            log,
        })
    }
}

impl Site {
    /// Says what was found, as the host does.
    pub(super) fn announce(&self) {
        let functions = self.app.functions.iter().map(|function| &function.name);
        let names: Vec<_> = functions
            .map(|name| format!("Host.Functions.{name}"))
            .collect();
        let text = format!("Found the following functions: {}", names.join(", "));
        self.log.host(LineLevel::Information, text);
        for (function, http) in self.app.http_functions() {
            let Some(addr) = self.http_addr else {
                continue;
            };
            let path = [self.app.host.route_prefix.as_str(), http.route.template()];
            let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
            let methods: Vec<&str> = http.methods.iter().map(http::Method::as_str).collect();
            let text = format!(
                "{}: [{}] http://localhost:{}/{}",
                function.name,
                methods.join(","),
                addr.port(),
                path.join("/")
            );
            self.log.host(LineLevel::Information, text);
        }
        for function in &self.app.functions {
            let bus = matches!(function.trigger, TriggerConfig::ServiceBus(_));
            if bus && function.retry.is_some() {
                // The host says so, and retries.
                let text = format!(
                    "Soon retries will not be supported for function '{}'.",
                    function.name
                );
                self.log.host(LineLevel::Warning, text);
            }
        }
    }

    /// Whether drain mode is on when the host stops. Each invocation still ends by its own timeout.
    fn drains(&self) -> bool {
        let on = self.settings.get(DRAIN);
        on.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }
}

impl Instance {
    /// Prepares an instance on a port of its own.
    pub(super) fn new(site: &Site, stop: CancellationToken) -> Result<(Self, Controls), HostError> {
        let port = free_port().map_err(HostError::Port)?;
        let (state_sender, state) = watch::channel(HandlerState::Starting);
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (fatal_sender, fatal) = mpsc::unbounded_channel();
        let mut clients = BTreeMap::new();
        for (name, connection) in &site.connections {
            let client = identity::client(connection).map_err(|source| HostError::Identity {
                connection: name.clone(),
                source: source.into(),
            })?;
            clients.insert(name.clone(), client);
        }
        let supervising = CancellationToken::new();
        let supervisor = Supervisor {
            launch: Launch {
                app: site.app.clone(),
                settings: site.settings.clone(),
                port,
                own_process_group: site.own_process_group,
            },
            log: site.log.clone(),
            state: state_sender,
            stats: Arc::clone(&site.stats),
            commands: command_receiver,
            stop: supervising.clone(),
        };
        let dispatcher = Dispatcher {
            state: state.clone(),
            commands: commands.clone(),
            stats: Arc::clone(&site.stats),
            fatal: fatal_sender,
            host: site.app.host.clone(),
            outputs: Outputs {
                clients: clients.clone(),
            },
            counters: site.counters.clone(),
            log: site.log.clone(),
            stopping: CancellationToken::new(),
        };
        let instance = Self {
            supervisor,
            dispatcher,
            fatal,
            clients,
            site: site.clone(),
            stop,
            supervising,
        };
        Ok((
            instance,
            Controls {
                commands,
                state,
                port,
            },
        ))
    }

    /// Runs until told to stop, or until the host would stop itself; the reason tells which.
    ///
    /// The order of a stop is the host's: listeners first, with a bounded wait for their invocations,
    /// then SIGKILL for the handler.
    ///
    /// `http` is where HTTP functions are called. The caller keeps it, for the next instance.
    pub(super) async fn run(mut self, http: Option<Arc<TcpListener>>) -> Ended {
        // Retries wait for nothing once the listeners have been told to stop.
        let listening = self.dispatcher.stopping.clone();
        let mut listeners = self.listeners(http, &listening);
        // When the host is dropped instead of stopped, the handler must not outlive it.
        let mut supervisor = AbortOnDropHandle::new(tokio::spawn(self.supervisor.run()));
        let early = tokio::select! {
            () = self.stop.cancelled() => None,
            Some(reason) = self.fatal.recv() => Some(Ended::TooManyErrors(reason)),
            ended = &mut supervisor => Some(ended.unwrap_or(Ended::Asked)),
        };
        listening.cancel();
        let drained = async { while listeners.join_next().await.is_some() {} };
        if self.site.drains() {
            drained.await;
        } else {
            let _ = tokio::time::timeout(STOP_WINDOW, drained).await;
        }
        listeners.shutdown().await;
        self.supervising.cancel();
        if !supervisor.is_finished() {
            let _ = supervisor.await;
        }
        for client in self.clients.values() {
            client.close().await;
        }
        early.unwrap_or(Ended::Asked)
    }

    fn listeners(&self, http: Option<Arc<TcpListener>>, stop: &CancellationToken) -> JoinSet<()> {
        let mut listeners = JoinSet::new();
        if let Some(socket) = http {
            let functions = self.site.app.http_functions();
            let functions = functions
                .map(|(function, http)| (Arc::new(function.clone()), http.clone()))
                .collect();
            let listener = HttpListener::new(functions, self.dispatcher.clone());
            listeners.spawn(listener.run(socket, stop.clone()));
        }
        for function in &self.site.app.functions {
            let function = Arc::new(function.clone());
            let dispatcher = self.dispatcher.clone();
            match &function.trigger {
                TriggerConfig::ServiceBus(config) => {
                    let connection = self.site.connections.get(&config.connection);
                    let client = self.clients.get(&config.connection);
                    let (Some(connection), Some(client)) = (connection, client) else {
                        continue;
                    };
                    let listener = ServiceBusListener {
                        config: config.clone(),
                        client: client.clone(),
                        shown_client: BusClient {
                            namespace: connection.namespace().to_owned(),
                            id: Uuid::new_v4(),
                            session_locked_until: None,
                        },
                        dispatcher,
                        function: Arc::clone(&function),
                    };
                    listeners.spawn(listener.run(stop.clone()));
                }
                TriggerConfig::Timer(config) => {
                    let Some(schedule) = self.site.schedules.get(&function.name) else {
                        continue;
                    };
                    let listener = TimerListener {
                        config: config.clone(),
                        schedule: schedule.clone(),
                        storage: self.site.timers.clone(),
                        instance: self.site.id.to_string(),
                        dispatcher,
                        function: Arc::clone(&function),
                    };
                    listeners.spawn(listener.run(stop.clone()));
                }
                // All share one listener.
                TriggerConfig::Http(_) => {}
            }
        }
        listeners
    }
}
