//! What a stack is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::StackError;
use crate::apps::{Form, SyncFile};
use crate::host::LogLine;

/// What to start.
pub struct StackConfig {
    /// Folder that holds the two binaries; see [`apps::binaries`](crate::apps::binaries).
    pub binaries: PathBuf,
    /// Instead of apps laid out here: a folder with the packages to run, each unpacked in a folder of its
    /// binary's name. They find Dataverse and the target by the name `localhost`, not by address.
    pub packages: Option<PathBuf>,
    /// `sync.json`, of the first target.
    pub sync_json: String,
    /// Sync files of further targets, each with its `targetSystem`. With a topic only.
    pub further_targets: Vec<SyncFile>,
    /// Sample accounts, the well-known ones with their contacts first.
    pub rows: usize,
    /// Seed of what is generated.
    pub seed: u64,
    /// Whether the notifications go through a queue or a topic.
    pub form: Form,
    /// Ports on loopback; 0 lets the system choose.
    pub ports: Ports,
    /// The first target's key; a random one without.
    pub target_key: Option<String>,
    /// Telemetry, or none at all: what the apps then do without.
    pub telemetry: Option<TelemetryConfig>,
    /// App settings on top of the stack's own, for both apps.
    pub settings: BTreeMap<String, String>,
    /// Instances of each app.
    pub instances: usize,
    /// Whether each row has a session on the outbound queue.
    pub sessions: bool,
    /// Called for each line of the apps' logs, with the app.
    pub on_line: Option<AppLineSink>,
}

/// Called for each line of an app's log, with the app's name; it must not block.
pub type AppLineSink = Arc<dyn Fn(&str, &LogLine) + Send + Sync>;

/// Where the parts that people talk to listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Service Bus, AMQP.
    pub bus: u16,
    /// Dataverse.
    pub dataverse: u16,
    /// Target.
    pub target: u16,
    /// Telemetry items, over plain HTTP.
    pub items: u16,
}

/// What becomes of the apps' telemetry.
#[derive(Debug, Clone, Default)]
pub struct TelemetryConfig {
    /// Every item is written here too, one a line.
    pub file: Option<PathBuf>,
    /// Ingestion takes bearer tokens of identities only, as with local authentication turned off.
    pub identities_only: bool,
}

/// The further targets by name.
pub(super) fn further(config: &StackConfig) -> Result<Vec<(String, SyncFile)>, StackError> {
    let named = |file: &SyncFile| {
        let text: Option<serde_json::Value> = serde_json::from_str(&file.text).ok();
        let name = text.and_then(|text| Some(text.get("targetSystem")?.as_str()?.to_owned()));
        match name {
            Some(name) if config.form == Form::Topic => Ok((name, file.clone())),
            _ => Err(StackError::FurtherTarget(file.name.clone())),
        }
    };
    config.further_targets.iter().map(named).collect()
}
