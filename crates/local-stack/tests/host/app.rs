//! Lays out packaged apps whose executable is this test binary, and waits for things to happen.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use local_stack::host::{Host, HostConfig, HostError};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A packaged app in a folder of its own.
pub(crate) struct App {
    pub dir: TempDir,
    pub settings: BTreeMap<String, String>,
}

impl App {
    /// An app whose handler is `handler::handler_process`, without functions.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = json!({
            "version": "2.0",
            "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
            "customHandler": {"description": {
                "defaultExecutablePath": std::env::current_exe().unwrap(),
                "arguments": ["--exact", "handler::handler_process", "--nocapture"]
            }}
        });
        fs::write(dir.path().join("host.json"), host.to_string()).unwrap();
        Self {
            dir,
            settings: BTreeMap::from([("HANDLER".to_owned(), "ready".to_owned())]),
        }
    }

    pub(crate) fn function(self, name: &str, binding: Value) -> Self {
        self.function_json(name, &json!({"bindings": [binding]}))
    }

    pub(crate) fn function_json(self, name: &str, function: &Value) -> Self {
        let folder = self.dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("function.json"), function.to_string()).unwrap();
        self
    }

    pub(crate) fn timer(self, name: &str, schedule: &str) -> Self {
        self.function(name, json!({"type": "timerTrigger", "direction": "in", "name": "tick", "schedule": schedule}))
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// An override of host.json.
    pub(crate) fn host(self, path: &str, value: &str) -> Self {
        self.set(&format!("AzureFunctionsJobHost__{path}"), value)
    }

    pub(crate) fn config(&self) -> HostConfig {
        HostConfig::new(self.dir.path(), self.settings.clone())
    }

    pub(crate) async fn start(&self) -> Host {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(&self) -> Result<Host, HostError> {
        Host::start(self.config()).await
    }
}

/// Waits until `holds`, for much longer than it can take.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_async(what, || std::future::ready(holds())).await;
}

/// [`eventually`] for a condition that takes asking.
pub(crate) async fn eventually_async<F: Future<Output = bool>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    waited.unwrap_or_else(|_| panic!("it never happened: {what}"));
}

/// The invocations that the mode `record` of the handler printed, oldest first.
pub(crate) fn calls(host: &Host) -> Vec<Value> {
    let seen = seen(host).into_iter();
    seen.filter_map(|seen| seen.get("call").cloned()).collect()
}

/// What the handler printed after `saw `, oldest first.
pub(crate) fn seen(host: &Host) -> Vec<Value> {
    let lines = host.lines();
    let seen = lines
        .iter()
        .filter_map(|line| line.text.strip_prefix("saw "));
    seen.map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

/// Whether some line of the log contains `text`.
pub(crate) fn logged(host: &Host, text: &str) -> bool {
    host.lines().iter().any(|line| line.text.contains(text))
}

/// Whether a process of that id is running (a zombie is not).
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}
