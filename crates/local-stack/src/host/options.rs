//! What a host is started with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::process::LineSink;

/// What to run, and how.
#[derive(Clone)]
pub struct HostConfig {
    /// The packaged app: `host.json`, the executable, `<Function>/function.json`.
    pub app_dir: PathBuf,
    /// App settings: for `%NAME%` and connections, and the handler's environment. A setting
    /// `AzureFunctionsJobHost__a__b` overrides `a.b` of host.json.
    pub settings: BTreeMap<String, String>,
    /// Called for each line of the host's log.
    pub on_line: Option<LineSink>,
    /// Where the schedules of timers are kept over restarts; in memory if `None`.
    pub state_dir: Option<PathBuf>,
    /// The port, on loopback, at which HTTP functions are called; 0 takes a free one.
    pub http_port: u16,
    /// Start a new host instance when one stops itself, as the platform does.
    pub restart_host: bool,
    /// Give the handler a process group of its own, so that a Ctrl-C at the terminal reaches only the
    /// host, which then lets the handler finish what is under way.
    pub own_process_group: bool,
}

impl HostConfig {
    /// An app with its settings; no callback, no state on disk, no new host after one has stopped.
    pub fn new(app_dir: impl Into<PathBuf>, settings: BTreeMap<String, String>) -> Self {
        Self {
            app_dir: app_dir.into(),
            settings,
            on_line: None,
            state_dir: None,
            http_port: 0,
            restart_host: false,
            own_process_group: false,
        }
    }
}

impl fmt::Debug for HostConfig {
    /// Without the values of the settings, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("app_dir", &self.app_dir)
            .field("settings", &self.settings.keys())
            .field("state_dir", &self.state_dir)
            .field("restart_host", &self.restart_host)
            .finish_non_exhaustive()
    }
}
