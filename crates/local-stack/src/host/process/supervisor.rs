//! Keeps one handler process running, by the rules of one host instance.

use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::child::{Handler, Launch};
use super::exit_rule::{AfterExit, CrashCounter, after_exit};
use super::lines::{LineLevel, Log};
use crate::host::invoke::HandlerClient;

/// Whether invocations can be sent.
#[derive(Debug, Clone)]
pub(crate) enum HandlerState {
    /// Started, and no answer yet: invocations wait.
    Starting,
    /// It answered.
    Ready(HandlerClient),
    /// It ended with code 0. The host has not noticed: invocations are sent, and fail.
    Gone(HandlerClient),
    /// The host instance has stopped.
    Stopped,
}

/// What others may ask of the supervisor.
#[derive(Debug)]
pub(crate) enum Command {
    /// SIGKILL from outside; what follows is up to the exit rules.
    Kill,
    /// The host's own kill and restart after a function's timeout: not an error. Several functions
    /// time out together when one process hangs, so each names the process it means.
    Restart {
        /// [`HandlerStats::restarts`] at the timeout.
        life: u64,
        /// Dropped once no invocation is sent to that process any more.
        heard: oneshot::Sender<()>,
    },
}

/// Facts about the process that outlive it.
#[derive(Debug, Default)]
pub(crate) struct HandlerStats {
    /// 0 when no process runs.
    pid: AtomicU32,
    restarts: AtomicU64,
}

impl HandlerStats {
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::SeqCst)
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }
}

/// Why the supervisor's work is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to stop.
    Asked,
    /// The handler's third error; the text tells the last one.
    TooManyErrors(String),
}

/// Runs the handler until it is told to stop or the handler has failed too often.
pub(crate) struct Supervisor {
    pub(crate) launch: Launch,
    pub(crate) log: Log,
    pub(crate) state: watch::Sender<HandlerState>,
    pub(crate) stats: Arc<HandlerStats>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) stop: CancellationToken,
}

/// How the life of one process ended.
enum Life {
    Asked,
    Restart,
    Error(String),
}

impl Supervisor {
    /// Runs until told to stop or until the third error.
    pub(crate) async fn run(mut self) -> Ended {
        let mut crashes = CrashCounter::default();
        loop {
            self.state.send_replace(HandlerState::Starting);
            let life = self.one_life().await;
            self.stats.pid.store(0, Ordering::SeqCst);
            let ended = match life {
                Life::Asked => Some(Ended::Asked),
                Life::Restart => None,
                Life::Error(what) => {
                    self.log.host(LineLevel::Error, &what);
                    let goes_on = crashes.error(OffsetDateTime::now_utc());
                    (!goes_on).then_some(Ended::TooManyErrors(what))
                }
            };
            if let Some(ended) = ended {
                self.state.send_replace(HandlerState::Stopped);
                return ended;
            }
            self.stats.count_restart();
        }
    }

    async fn one_life(&mut self) -> Life {
        let mut handler = match self.launch.spawn(&self.log) {
            Ok(handler) => handler,
            Err(error) => {
                let executable = self.launch.app.host.executable.display();
                return Life::Error(format!("cannot start {executable}: {error}"));
            }
        };
        self.stats
            .pid
            .store(handler.child.id().unwrap_or(0), Ordering::SeqCst);
        let client = match HandlerClient::new(self.launch.port, self.launch.app.host.forwards_http)
        {
            Ok(client) => client,
            Err(error) => return Life::Error(format!("no http client: {error}")),
        };
        let window = self.launch.app.host.initialization_timeout;
        let mut probing = pin!({
            let client = client.clone();
            async move { client.wait_until_ready(window).await }
        });
        let (mut ready, mut ended) = (false, false);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    handler.kill().await;
                    return Life::Asked;
                }
                command = self.commands.recv() => match command {
                    Some(Command::Kill) => {
                        // Fails only when the process has ended, which the branch below sees.
                        let _ = handler.child.start_kill();
                    }
                    Some(Command::Restart { life, heard }) if life == self.stats.restarts() => {
                        self.state.send_replace(HandlerState::Starting);
                        drop(heard);
                        handler.kill().await;
                        return Life::Restart;
                    }
                    Some(Command::Restart { .. }) => {}
                    // The host handle is gone, and with it the reason to run.
                    None => {
                        handler.kill().await;
                        return Life::Asked;
                    }
                },
                status = handler.child.wait(), if !ended => {
                    self.stats.pid.store(0, Ordering::SeqCst);
                    if !matches!(&status, Ok(status) if status.success()) {
                        // At once: whatever is sent from here on would only meet a closed port. What
                        // was sent since the end is lost, as it is with the real host.
                        self.state.send_replace(HandlerState::Starting);
                    }
                    if let Some(life) = self.ended(&mut handler, status).await {
                        return life;
                    }
                    ended = true;
                    if ready {
                        self.state.send_replace(HandlerState::Gone(client.clone()));
                    }
                }
                answered = &mut probing, if !ready => {
                    if !answered {
                        handler.kill().await;
                        return Life::Error(format!("the handler did not answer GET / within {window:?}"));
                    }
                    ready = true;
                    let state = HandlerState::Ready(client.clone());
                    self.state.send_replace(state);
                }
            }
        }
    }

    /// `None` after code 0: the host goes on as if nothing had happened.
    async fn ended(
        &self,
        handler: &mut Handler,
        status: std::io::Result<ExitStatus>,
    ) -> Option<Life> {
        handler.last_words().await;
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                return Some(Life::Error(format!("cannot wait for the handler: {error}")));
            }
        };
        match after_exit(status.code()) {
            AfterExit::Nothing => {
                let text = "the handler ended with exit code 0: the host does not restart it, and every \
                            invocation fails from now on";
                self.log.host(LineLevel::Error, text);
                None
            }
            AfterExit::Restart => {
                self.log.host(
                    LineLevel::Information,
                    "the handler asked to be restarted (exit code 200)",
                );
                Some(Life::Restart)
            }
            AfterExit::Error => {
                let stderr = self.log.last_stderr(3);
                Some(Life::Error(format!(
                    "the handler ended with {status}; last on stderr: {stderr}"
                )))
            }
        }
    }
}
