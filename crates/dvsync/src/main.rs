//! The command line of dataverse-sync.
#![forbid(unsafe_code)]

mod app_settings;
mod bench;
mod check;
mod dataverse;
mod dlq;
mod emulate;
mod host;
mod local;
mod look;
mod moment;
mod out;
mod package;
mod preview;
mod resync;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Reliable sync from Dynamics 365 / Dataverse to any target system, acknowledged back to the row.
#[derive(Debug, Parser)]
#[command(name = "dvsync", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole loop on this machine: Dataverse, Service Bus, both function apps and a target.
    Local(local::Options),
    /// Tell the story of one change from its telemetry: from the save, over retries, to the acknowledgement.
    Trace(trace::Options),
    /// Look at dead letters, send them again, or put them aside.
    Dlq(dlq::Options),
    /// Send rows again: those that the target may not hold as they are, or any others.
    Resync(resync::Options),
    /// Check a package before it is deployed: sync files, host.json, functions, settings.
    Check(check::Options),
    /// Build what is deployed: a zip for each app, tried out before it is handed over.
    Package(package::Options),
    /// Print the requests that a row would be sent by, before anything is sent.
    Preview(preview::Options),
    /// Print the JSON Schema of sync.json: what an editor completes and checks it by.
    Schema,
    /// Measure one part against the stand-ins.
    Bench(bench::Options),
    /// Start one stand-in alone.
    Emulate(emulate::Options),
    /// Run a packaged custom-handler app, in any language, as the Functions host would.
    Host(host::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // First of all: whatever client is built later finds the one provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "error".into());
    telemetry::init_stderr(&level);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("dvsync: the runtime cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Local(options) => local::run(options).await,
            Command::Trace(options) => trace::run(&options).await,
            Command::Dlq(options) => dlq::run(&options).await,
            Command::Resync(options) => resync::run(&options).await,
            Command::Check(options) => check::run(&options).await,
            Command::Package(options) => package::run(options).await,
            Command::Preview(options) => preview::run(&options).await,
            Command::Schema => {
                let schema = serde_json::to_string_pretty(&sync_core::config::schema());
                schema.map_err(Into::into).map(|text| {
                    out::line(format_args!("{text}"));
                    ExitCode::SUCCESS
                })
            }
            Command::Bench(options) => bench::run(options).await,
            Command::Host(options) => host::run(options).await,
            Command::Emulate(options) => emulate::run(options).await.map(|()| ExitCode::SUCCESS),
        }
    });
    done.unwrap_or_else(|e| {
        eprintln!("dvsync: {e:#}");
        ExitCode::FAILURE
    })
}
