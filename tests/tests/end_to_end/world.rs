//! The running loop, and what tests ask of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_stack::apps::{self, Form};
use local_stack::bus::MessageView;
use local_stack::stack::{OUTBOUND, Stack, StackConfig};
use serde_json::{Value, json};
use service_bus::{Client, ClientOptions, OutgoingMessage};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_retries(12).await
    }

    pub(crate) async fn with_retries(max_retries: u32) -> Self {
        let sync: Value = serde_json::from_str(apps::sync_json()).unwrap();
        Self::with(sync, max_retries).await
    }

    pub(crate) async fn with(sync: Value, max_retries: u32) -> Self {
        Self::set_up(sync, max_retries, BTreeMap::new(), Form::Queue, false).await
    }

    /// With app settings on top of the stack's own.
    pub(crate) async fn with_settings(settings: &[(&str, String)]) -> Self {
        let sync: Value = serde_json::from_str(apps::sync_json()).unwrap();
        let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
        Self::set_up(sync, 12, settings.collect(), Form::Queue, false).await
    }

    /// With a session per row on the outbound queue.
    pub(crate) async fn with_sessions() -> Self {
        let sync: Value = serde_json::from_str(apps::sync_json()).unwrap();
        Self::set_up(sync, 12, BTreeMap::new(), Form::Queue, true).await
    }

    /// With a topic, for a target of this name.
    pub(crate) async fn with_topic(target: &str) -> Self {
        let mut sync: Value = serde_json::from_str(apps::sync_json()).unwrap();
        sync["targetSystem"] = json!(target);
        Self::set_up(sync, 12, BTreeMap::new(), Form::Topic, false).await
    }

    async fn set_up(
        mut sync: Value,
        max_retries: u32,
        settings: BTreeMap<String, String>,
        form: Form,
        sessions: bool,
    ) -> Self {
        sync["retry"] = json!({"baseSeconds": 0.2, "factor": 2, "capSeconds": 1, "maxRetries": max_retries,
            "inProcessRetries": 0, "configDelaySeconds": 0.5});
        sync["target"]["timeoutSeconds"] = json!(1);
        let binaries = tokio::task::spawn_blocking(apps::binaries)
            .await
            .unwrap()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let stack = Stack::start(StackConfig {
            binaries,
            sync_json: sync.to_string(),
            rows: 10,
            seed: 1,
            form,
            ports: Default::default(),
            instances: 1,
            sessions,
            settings,
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

    pub(crate) fn dead(&self, queue: &str) -> Vec<MessageView> {
        self.stack.bus.snapshot(queue).unwrap().dead_letter
    }

    pub(crate) async fn send(&self, body: &str) {
        let options = ClientOptions::default();
        let client = Client::from_connection_string(&self.stack.bus.connection_string(), options);
        let client = client.unwrap();
        client
            .send(OUTBOUND, OutgoingMessage::new(body.to_owned()))
            .await
            .unwrap();
        client.close().await;
    }
}

pub(crate) fn notification(table: &str, row: Uuid) -> String {
    json!({"schemaVersion": 1, "notificationId": Uuid::new_v4(), "correlationId": "c-1", "table": table,
        "sourceRowId": row, "operation": "update", "occurredAt": "2026-03-02T09:15:30Z"})
    .to_string()
}
