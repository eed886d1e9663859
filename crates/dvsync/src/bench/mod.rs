//! `dvsync bench`: figures of one part at a time, against the stand-ins, on this machine.

mod dataverse;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The Dataverse client: requests per changed row, and what is made of the service protection
    /// limits.
    Dataverse(dataverse::Options),
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match options.what {
        What::Dataverse(options) => dataverse::run(options).await,
    }
}
