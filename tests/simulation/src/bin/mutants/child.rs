//! A child process with a time limit, whose output is kept.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// How a child process ended.
pub(crate) enum Ended {
    /// By itself; with its output.
    Itself {
        /// Whether it succeeded.
        success: bool,
        /// Stdout and stderr.
        output: String,
    },
    /// It was stopped at its time limit.
    TimedOut,
}

impl Ended {
    pub(crate) fn succeeded(&self) -> bool {
        matches!(self, Self::Itself { success: true, .. })
    }

    pub(crate) fn output(&self) -> &str {
        match self {
            Self::Itself { output, .. } => output,
            Self::TimedOut => "",
        }
    }

    /// The last lines of the output.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<_> = self.output().lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Runs a command to its end, or stops it after `longest`. `log` takes its output.
pub(crate) fn run(command: &mut Command, log: &Path, longest: Duration) -> anyhow::Result<Ended> {
    let open = || File::create(log).with_context(|| format!("cannot write {}", log.display()));
    let out = open()?;
    let err = out.try_clone().context("cannot share the log")?;
    let began = Instant::now();
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    loop {
        if let Some(status) = child
            .try_wait()
            .context("cannot wait for a child process")?
        {
            let output = std::fs::read_to_string(log).context("cannot read the log")?;
            return Ok(Ended::Itself {
                success: status.success(),
                output,
            });
        }
        if began.elapsed() > longest {
            // With everything it started, which is in its process group.
            let group = format!("-{}", child.id());
            let stop = Command::new("kill").args(["-9", "--", &group]).status();
            stop.context("cannot stop a child process")?;
            child.wait().context("cannot wait for a child process")?;
            return Ok(Ended::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
