//! `dvsync bench`: figures of one part at a time, against the stand-ins, on this machine.

mod dataverse;
mod process;
mod service_bus;
mod telemetry;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::out;

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
    /// The Service Bus client beside Microsoft's, the local broker's memory, and chaos.
    ServiceBus(service_bus::Options),
    /// What telemetry costs: the whole loop with it and without, and with an ingestion that is gone.
    Telemetry(telemetry::Options),
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match options.what {
        What::Dataverse(options) => dataverse::run(options).await,
        What::ServiceBus(options) => service_bus::run(options).await,
        What::Telemetry(options) => telemetry::run(options).await,
    }
}

/// Prints a goal and whether it was met.
fn goal(what: &str, met: bool) -> bool {
    out::line(format_args!(
        "  {}  {what}",
        if met { "met   " } else { "MISSED" }
    ));
    met
}
