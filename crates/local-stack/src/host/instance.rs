//! One host instance: a handler under supervision, and the listeners that feed it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use service_bus::{Client, ClientOptions, ConnectionString};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::config::{App, AppError, Settings, TriggerConfig};
use super::encode::BusClient;
use super::invoke::{Counters, Dispatcher, Outputs};
use super::process::{
    Command, Ended, HandlerState, HandlerStats, Launch, Log, Supervisor, free_port,
};
use super::trigger::{Schedule, ServiceBusListener, TimerListener, TimerRecords};

/// How long a stopping host waits for running invocations.
const STOP_WINDOW: Duration = Duration::from_secs(10);

/// Everything that outlives a host instance.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) app: App,
    pub(super) settings: Settings,
    pub(super) connections: BTreeMap<String, ConnectionString>,
    pub(super) schedules: BTreeMap<String, Schedule>,
    pub(super) records: TimerRecords,
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
        records: TimerRecords,
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
            records,
            counters: Counters::default(),
            stats: Arc::default(),
            log,
        })
    }
}

impl Instance {
    /// Prepares an instance on a port of its own.
    pub(super) fn new(site: &Site, stop: CancellationToken) -> std::io::Result<(Self, Controls)> {
        let port = free_port()?;
        let (state_sender, state) = watch::channel(HandlerState::Starting);
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (fatal_sender, fatal) = mpsc::unbounded_channel();
        let client = |connection: &ConnectionString| {
            let ConnectionString {
                endpoint,
                credential,
                ..
            } = connection.clone();
            Client::new(endpoint, credential, ClientOptions::default())
        };
        let clients: BTreeMap<String, Client> = site
            .connections
            .iter()
            .map(|(name, connection)| (name.clone(), client(connection)))
            .collect();
        let supervising = CancellationToken::new();
        let supervisor = Supervisor {
            launch: Launch {
                app: site.app.clone(),
                settings: site.settings.clone(),
                port,
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
    pub(super) async fn run(mut self) -> Ended {
        let listening = CancellationToken::new();
        let mut listeners = self.listeners(&listening);
        // When the host is dropped instead of stopped, the handler must not outlive it.
        let mut supervisor = AbortOnDropHandle::new(tokio::spawn(self.supervisor.run()));
        let early = tokio::select! {
            () = self.stop.cancelled() => None,
            Some(reason) = self.fatal.recv() => Some(Ended::TooManyErrors(reason)),
            ended = &mut supervisor => Some(ended.unwrap_or(Ended::Asked)),
        };
        listening.cancel();
        let drained = async { while listeners.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_WINDOW, drained).await;
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

    fn listeners(&self, stop: &CancellationToken) -> JoinSet<()> {
        let mut listeners = JoinSet::new();
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
                            namespace: connection.endpoint.host.clone(),
                            id: Uuid::new_v4(),
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
                        records: self.site.records.clone(),
                        dispatcher,
                        function: Arc::clone(&function),
                    };
                    listeners.spawn(listener.run(stop.clone()));
                }
            }
        }
        listeners
    }
}
