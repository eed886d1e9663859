//! `dvsync bench service-bus`: our AMQP client beside Microsoft's, the broker's memory, and what
//! both survive.

mod chaos;
mod emulator;
mod ledger;
mod meddler;
mod memory;
mod mischief;
mod rates;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Instead of measuring: send, receive and settle for so long while everything breaks, and
    /// account for every message.
    #[arg(long, value_name = "SECONDS")]
    chaos: Option<u64>,
    /// Seed of the chaos.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages in each measure of ours.
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// Messages in each measure of the official clients.
    #[arg(long, default_value_t = 5_000)]
    official_messages: usize,
    /// Size of a message's body, bytes.
    #[arg(long, default_value_t = 256)]
    body: usize,
    /// Messages passed through the broker while its memory is watched; 0 leaves that out.
    #[arg(long, default_value_t = 1_000_000)]
    memory_messages: usize,
    /// Where the program is that runs the official clients.
    #[arg(long, default_value = "tests/conformance/bench")]
    official: PathBuf,
    /// Measure only our client.
    #[arg(long)]
    ours_only: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let met = match options.chaos {
        Some(seconds) => {
            let report = chaos::run(Duration::from_secs(seconds), options.seed).await?;
            report.print();
            report.is_good()
        }
        None => {
            let mut met = rates::run(&options).await?;
            if options.memory_messages > 0 {
                met &= memory::run(options.memory_messages, options.body).await?;
            }
            met
        }
    };
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
