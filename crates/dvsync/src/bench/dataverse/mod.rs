//! `dvsync bench dataverse`: how seldom Dataverse is asked, and how close to its limits that stays.

mod limits;
mod merging;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::goal;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure only this.
    #[arg(long)]
    only: Option<Part>,
    /// Distinct rows that change.
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// Notifications, and as many acknowledgements, in flight at a time.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Time each request to Dataverse takes, milliseconds.
    #[arg(long, default_value_t = 10)]
    latency_ms: u64,
    /// How long each run against the limits lasts, seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests per changed row, with and without merging.
    Merging,
    /// One identity against limited web servers, without and with cookies.
    Governor,
    /// Several identities against limited web servers.
    Identities,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let length = Duration::from_secs(options.seconds);
    let mut met = true;
    if wanted(Part::Merging) {
        met &= merging::run(options.rows, options.in_flight, options.latency_ms).await?;
    }
    if wanted(Part::Governor) {
        met &= limits::governor(length).await?;
    }
    if wanted(Part::Identities) {
        met &= limits::identities(length).await?;
    }
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
