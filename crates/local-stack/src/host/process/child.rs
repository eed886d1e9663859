//! Starts the handler as the host does, and copies its output into the log.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::lines::Log;
use crate::host::config::{App, Settings};

/// What the handler is started with. The port stays the same over restarts.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) app: App,
    pub(crate) settings: Settings,
    pub(crate) port: u16,
    pub(crate) own_process_group: bool,
}

/// A running handler process.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) child: Child,
    readers: [JoinHandle<()>; 2],
}

/// A port that is free now, and that nobody gets by chance before the handler takes it, or between two
/// of its lives: it is below the range from which systems give outgoing connections theirs.
pub(crate) fn free_port() -> std::io::Result<u16> {
    let mut tries = 0;
    loop {
        let port = rand::rng().random_range(20_000..32_000);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(_) if tries < 100 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

impl Launch {
    /// Starts the process.
    ///
    /// The real host passes on its whole environment. Here that is the app settings, what any process
    /// needs of the machine, and the five variables the host adds: a variable that happens to be set
    /// where a test runs must not change what the handler does.
    pub(crate) fn spawn(&self, log: &Log) -> std::io::Result<Handler> {
        let port = self.port.to_string();
        let worker_id = Uuid::new_v4().to_string();
        let mut command = Command::new(&self.app.host.executable);
        command
            .args(&self.app.host.arguments)
            .current_dir(&self.app.host.working_directory)
            .env_clear()
            .envs(
                ["PATH", "HOME", "TMPDIR"]
                    .into_iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs(self.settings.iter())
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", &port)
            .env("FUNCTIONS_HTTPWORKER_PORT", &port)
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &worker_id)
            .env("FUNCTIONS_HTTPWORKER_ID", &worker_id)
            .env("FUNCTIONS_APP_ROOT_PATH", &self.app.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if self.own_process_group {
            command.process_group(0);
        }
        let mut child = command.spawn()?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let readers = [
            tokio::spawn(copy_lines(stdout, {
                let log = log.clone();
                move |line| log.stdout(line)
            })),
            tokio::spawn(copy_lines(stderr, {
                let log = log.clone();
                move |line| log.stderr(line)
            })),
        ];
        Ok(Handler { child, readers })
    }
}

impl Handler {
    /// SIGKILL, and a wait for the end: the host never asks a handler to stop.
    pub(crate) async fn kill(mut self) {
        // The only failure is that the process has ended already.
        let _ = self.child.start_kill();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await;
        self.last_words().await;
    }

    /// Waits for output that the process wrote before it ended; not for ever, because a process that
    /// it started may hold the pipe open.
    pub(crate) async fn last_words(&mut self) {
        for reader in &mut self.readers {
            // A finished task must not be awaited twice.
            if !reader.is_finished() {
                let _ = tokio::time::timeout(Duration::from_millis(200), reader).await;
            }
        }
    }
}

async fn copy_lines(pipe: Option<impl AsyncRead + Unpin>, write: impl Fn(String)) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            write(text.to_owned());
        }
        line.clear();
    }
}
