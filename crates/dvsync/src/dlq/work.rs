//! Sending letters again and putting them aside, with progress, and an end by Ctrl-C that loses nothing.

use std::io::IsTerminal;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use dead_letters::{Action, Aside, End, Progress, Work, WorkError};
use serde_json::json;
use uuid::Uuid;

use super::place::{Connection, Where};
use super::show;
use super::wanted::Which;
use crate::out;

/// Options of `dvsync dlq resend`.
#[derive(Debug, Args)]
pub(super) struct Resending {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// So many a second at most.
    #[arg(long, default_value = "50")]
    rate: NonZeroU32,
    /// So many in all at most: try a few first.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Go on where a run that broke off ended: the id that it printed. What it sent, and was given up again,
    /// is not sent once more.
    #[arg(long, value_name = "ID")]
    resume: Option<Uuid>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Options of `dvsync dlq put-aside`.
#[derive(Debug, Args)]
pub(super) struct PuttingAside {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// The file they are appended to, in JSON, a line each, with body and properties. A message that an
    /// endpoint of Dataverse posted holds values of its row.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// So many in all at most.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Sends them again.
pub(super) async fn resend(options: &Resending) -> anyhow::Result<ExitCode> {
    let run = Run {
        connection: Connection::open(&options.place).await?,
        which: &options.which,
        work: Work {
            rate: Some(options.rate),
            limit: options.limit,
            ..Work::new(options.resume.unwrap_or_else(Uuid::new_v4))
        },
        json: options.json,
    };
    run.go(Action::Resend).await
}

/// Puts them aside.
pub(super) async fn put_aside(options: &PuttingAside) -> anyhow::Result<ExitCode> {
    let file = Aside::open(&options.file)
        .with_context(|| format!("{} cannot be written", options.file.display()))?;
    let run = Run {
        connection: Connection::open(&options.place).await?,
        which: &options.which,
        work: Work {
            limit: options.limit,
            ..Work::new(Uuid::new_v4())
        },
        json: options.json,
    };
    run.go(Action::PutAside(file)).await
}

struct Run<'a> {
    connection: Connection,
    which: &'a Which,
    work: Work,
    json: bool,
}

impl Run<'_> {
    async fn go(mut self, mut action: Action) -> anyhow::Result<ExitCode> {
        let wanted = self.which.wanted(&self.connection.places)?;
        self.stop_on_signal();
        let (verb, goes_on) = match &action {
            Action::Resend => {
                let (id, again) = (self.work.id, self.again());
                // First of all: a process that is killed says nothing any more.
                self.say(&format!(
                    "resending as {id}, which each copy carries as ResendId; if this breaks off, the same with {again} goes on"
                ));
                ("resent", format!("the same with {again} goes on"))
            }
            Action::PutAside(_) => ("put aside", "the same command goes on".to_owned()),
        };
        let broken_off = |done| format!("broken off after {done}, nothing is lost; {goes_on}");
        let (mut all, mut queues, mut done) = (true, Vec::new(), 0);
        let limit = self.work.limit;
        for place in &self.connection.places {
            self.work.limit = limit.map(|limit| limit.saturating_sub(done));
            let mut last = Progress::default();
            let line = Line::new(self.json, verb, place.name());
            let mut tell = |progress| {
                last = progress;
                line.tell(progress);
            };
            let ended = self.work.run(
                &self.connection.client,
                place,
                &wanted,
                &mut action,
                &mut tell,
            );
            let ended = ended.await;
            done += last.done;
            line.end(last);
            let outcome = ended
                .map_err(|error| match error {
                    WorkError::Bus(error) => self.connection.failed(place, error),
                    error @ WorkError::File { .. } => error.into(),
                })
                .with_context(|| broken_off(done))?;
            for more in show::outcome(&outcome) {
                self.say(&format!("{}: {more}", place.name()));
            }
            all &= outcome.end == End::All && outcome.unfit.is_empty();
            queues.push(json!({
                "queue": place.name(), "done": last.done, "notMeant": last.others, "returned": outcome.returned,
                "unfit": outcome.unfit, "end": show::end(outcome.end),
            }));
            if outcome.end == End::Stopped {
                self.say(&broken_off(done));
                break;
            }
        }
        self.connection.client.close().await;
        if self.json {
            let id = self.work.id;
            out::line(json!({ "id": id, "what": verb, "done": done, "queues": queues }));
        }
        Ok(if all {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// For people; where a machine reads standard output, beside it.
    fn say(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            out::line(text);
        }
    }

    /// The options that go on: times that were so long ago would mean others by then.
    fn again(&self) -> String {
        format!("--resume {}{}", self.work.id, self.which.times())
    }

    /// The first Ctrl-C ends the work in good order, the second at once: also then nothing is lost.
    fn stop_on_signal(&self) {
        let stop = self.work.stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(130);
                }
            }
        });
    }
}

/// One line that grows on a terminal, and is printed once elsewhere.
struct Line<'a> {
    silent: bool,
    terminal: bool,
    verb: &'static str,
    queue: &'a str,
}

impl<'a> Line<'a> {
    fn new(silent: bool, verb: &'static str, queue: &'a str) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            silent,
            terminal,
            verb,
            queue,
        }
    }

    fn text(&self, progress: Progress) -> String {
        let Progress {
            meant,
            done,
            others,
        } = progress;
        let of = if done < meant {
            format!(" of {meant}")
        } else {
            String::new()
        };
        let stay = match others {
            0 => String::new(),
            others => format!(", {others} not meant"),
        };
        format!(
            "{}: {} {}{of}{stay}",
            self.queue,
            show::count(done),
            self.verb
        )
    }

    fn tell(&self, progress: Progress) {
        if self.terminal && !self.silent {
            out::part(format_args!("\r\x1b[2K{}", self.text(progress)));
        }
    }

    fn end(&self, progress: Progress) {
        if self.silent {
            return;
        }
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        out::line(format_args!("{clear}{}", self.text(progress)));
    }
}
