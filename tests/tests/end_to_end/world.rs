//! The running loop, and what tests ask of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_stack::apps::{self, Form, SyncFile};
use local_stack::bus::MessageView;
use local_stack::insights::Item;
use local_stack::stack::{OUTBOUND, Stack, StackConfig, TelemetryConfig};
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

/// What differs between worlds.
struct Setup {
    sync: Value,
    /// Sync file of a second target, with a topic.
    second: Option<Value>,
    max_retries: u32,
    settings: BTreeMap<String, String>,
    telemetry: TelemetryConfig,
    form: Form,
    sessions: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sync: serde_json::from_str(apps::sync_json()).unwrap(),
            second: None,
            max_retries: 12,
            settings: BTreeMap::new(),
            telemetry: TelemetryConfig::default(),
            form: Form::Queue,
            sessions: false,
        }
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_retries(12).await
    }

    pub(crate) async fn with_retries(max_retries: u32) -> Self {
        Self::set_up(Setup {
            max_retries,
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with(sync: Value, max_retries: u32) -> Self {
        Self::set_up(Setup {
            sync,
            max_retries,
            ..Setup::default()
        })
        .await
    }

    /// With app settings on top of the stack's own.
    pub(crate) async fn with_settings(settings: &[(&str, String)]) -> Self {
        Self::with_telemetry(TelemetryConfig::default(), settings).await
    }

    /// With another Application Insights, and app settings on top of the stack's own.
    pub(crate) async fn with_telemetry(
        telemetry: TelemetryConfig,
        settings: &[(&str, String)],
    ) -> Self {
        let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
        Self::set_up(Setup {
            settings: settings.collect(),
            telemetry,
            ..Setup::default()
        })
        .await
    }

    /// With a session per row on the outbound queue.
    pub(crate) async fn with_sessions() -> Self {
        Self::set_up(Setup {
            sessions: true,
            ..Setup::default()
        })
        .await
    }

    /// With a topic, for a target of this name.
    pub(crate) async fn with_topic(target: &str) -> Self {
        let mut setup = Setup {
            form: Form::Topic,
            ..Setup::default()
        };
        setup.sync["targetSystem"] = json!(target);
        Self::set_up(setup).await
    }

    /// With a topic, for the shipped target and a second one.
    pub(crate) async fn with_second_target(second: Value) -> Self {
        Self::set_up(Setup {
            second: Some(second),
            form: Form::Topic,
            ..Setup::default()
        })
        .await
    }

    async fn set_up(setup: Setup) -> Self {
        let hasty = |mut sync: Value| {
            sync["retry"] = json!({"baseSeconds": 0.2, "factor": 2, "capSeconds": 1, "maxRetries": setup.max_retries,
                "inProcessRetries": 0, "configDelaySeconds": 0.5});
            sync["target"]["timeoutSeconds"] = json!(1);
            sync.to_string()
        };
        let second = setup.second.map(|sync| SyncFile {
            name: "sync.second.json".into(),
            text: hasty(sync),
        });
        let binaries = tokio::task::spawn_blocking(apps::binaries)
            .await
            .unwrap()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let stack = Stack::start(StackConfig {
            binaries,
            packages: None,
            sync_json: hasty(setup.sync),
            further_targets: second.into_iter().collect(),
            rows: 10,
            seed: 1,
            form: setup.form,
            ports: Default::default(),
            target_key: None,
            instances: 1,
            sessions: setup.sessions,
            telemetry: Some(setup.telemetry),
            settings: setup.settings,
            on_line: Some(Arc::new(move |_, line| {
                lines.lock().unwrap().push(line.text.clone())
            })),
        })
        .await
        .unwrap();
        Self { stack, log }
    }

    pub(crate) fn account(&self) -> Uuid {
        self.stack
            .dataverse
            .ids("account")
            .into_iter()
            .min()
            .unwrap()
    }

    pub(crate) fn save(&self, id: Uuid, columns: Value) {
        self.stack
            .dataverse
            .save("account", Some(id), &columns)
            .unwrap();
    }

    pub(crate) fn column(&self, id: Uuid, name: &str) -> Value {
        self.stack.dataverse.row("account", id).unwrap()[name].clone()
    }

    /// Waits for something that must come; the bound is for a broken build, not a measurement.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Stack) -> bool) {
        let started = Instant::now();
        while !done(&self.stack) {
            if started.elapsed() > Duration::from_secs(180) {
                panic!(
                    "never: {what}; the apps' log:\n{}",
                    self.log.lock().unwrap().join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn drained(&self) {
        self.until("drained", Stack::is_drained).await;
    }

    /// What has arrived in Application Insights.
    pub(crate) fn told(&self) -> Vec<Item> {
        told(&self.stack)
    }

    /// How many lines of the apps' logs hold this text.
    pub(crate) fn logged(&self, text: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn dead(&self, queue: &str) -> Vec<MessageView> {
        self.stack.bus.snapshot(queue).unwrap().dead_letter
    }

    pub(crate) async fn send(&self, body: &str) {
        self.send_to(OUTBOUND, body).await;
    }

    pub(crate) async fn send_to(&self, queue: &str, body: &str) {
        let options = ClientOptions::default();
        let client = Client::from_connection_string(&self.stack.bus.connection_string(), options);
        let client = client.unwrap();
        client
            .send(queue, OutgoingMessage::new(body.to_owned()))
            .await
            .unwrap();
        client.close().await;
    }
}

/// What has arrived in Application Insights.
pub(crate) fn told(stack: &Stack) -> Vec<Item> {
    stack.insights.as_ref().unwrap().items()
}

pub(crate) fn notification(table: &str, row: Uuid) -> String {
    json!({"schemaVersion": 1, "notificationId": Uuid::new_v4(), "correlationId": "c-1", "table": table,
        "sourceRowId": row, "operation": "update", "occurredAt": "2026-03-02T09:15:30Z"})
    .to_string()
}
