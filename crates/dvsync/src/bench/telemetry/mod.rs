//! `dvsync bench telemetry`: what telemetry costs the apps, and what they make of an ingestion that is
//! gone. Two whole loops in one run, one with telemetry and one without, do the same work.

mod cost;
mod dead;
mod side;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure only this.
    #[arg(long)]
    only: Option<Part>,
    /// Invocations that are kept by chance, percent.
    #[arg(long, default_value_t = 10.0)]
    sampling: f64,
    /// Rounds of the cost's measurement, each of both sides. After some 40,000 changes in five minutes the apps hold
    /// themselves back, as Dataverse wants it, and that is what would be measured.
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// Changes in a round, on each side.
    #[arg(long, default_value_t = 2_000)]
    changes: usize,
    /// How long ingestion is gone, seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Time between two changes meanwhile, milliseconds.
    #[arg(long, default_value_t = 100)]
    every_ms: u64,
    /// Time that Dataverse takes for a request meanwhile, and the target half as much again, milliseconds.
    #[arg(long, default_value_t = 200)]
    latency_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Invocations a second and processor time with telemetry and without.
    Cost,
    /// Memory and the length of invocations while ingestion is gone.
    Dead,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let mut met = true;
    if wanted(Part::Cost) {
        met &= cost::run(options.rounds, options.changes, options.sampling).await?;
    }
    if wanted(Part::Dead) {
        let load = dead::Load {
            lasts: Duration::from_secs(options.seconds),
            every: Duration::from_millis(options.every_ms),
            latency_ms: options.latency_ms,
        };
        met &= dead::run(&load).await?;
    }
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
