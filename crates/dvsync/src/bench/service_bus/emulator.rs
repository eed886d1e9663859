//! The broker under measurement: `dvsync emulate service-bus` in a process of its own, so that its
//! memory can be told from ours.

use std::process::Stdio;

use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::bench::process;

/// A running emulator; it is killed when this is dropped.
pub(super) struct Emulator {
    child: Child,
    pub(super) connection_string: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Announcement {
    connection_string: String,
}

impl Emulator {
    /// Starts one with these queues.
    pub(super) async fn start(queues: &[&str]) -> anyhow::Result<Self> {
        let dvsync = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(dvsync);
        command.args(["emulate", "service-bus", "--json"]);
        for queue in queues {
            command.args(["--queue", queue]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the emulator")?;
        let out = child.stdout.take().context("the emulator has no output")?;
        let line = BufReader::new(out).lines().next_line().await?;
        let line = line.context("the emulator ended at once")?;
        let Announcement { connection_string } = serde_json::from_str(&line)
            .with_context(|| format!("the emulator's first line was {line}"))?;
        Ok(Self {
            child,
            connection_string,
        })
    }

    /// Its resident memory in KiB; `None` where /proc does not tell.
    pub(super) fn memory_kib(&self) -> Option<u64> {
        process::memory_kib(self.child.id()?)
    }
}
