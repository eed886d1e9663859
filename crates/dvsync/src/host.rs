//! `dvsync host`: runs a packaged custom-handler app, in any language, against any namespace.
//!
//! For machines where Azure Functions Core Tools cannot be installed, and for whoever wants to see what
//! the host makes of a handler's answers.

pub(crate) mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use local_stack::host::{
    Fleet, HostConfig, HostState, LineLevel, LineSink, LineSource, LogLine, connection_names,
};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::local::stopped;
use crate::out;

/// Options of `dvsync host`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The packaged app: the folder with host.json, the executable and <Function>/function.json.
    app: PathBuf,
    /// Service Bus connection string, for every connection that the app's bindings name.
    #[arg(long)]
    connection: Option<String>,
    /// File with app settings under "Values"; local.settings.json in the app's folder if there is one.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// NAME=VALUE of one app setting; repeatable. Wins over file and environment.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Port of the HTTP functions, on loopback; of several instances only the first has it, the others
    /// take free ones, as all do with 0.
    #[arg(long, default_value_t = 7071)]
    port: u16,
    /// Instances of the app, each with a handler of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    instances: u8,
    /// AzureWebJobsStorage, where timers remember: a connection string, or UseDevelopmentStorage=true
    /// for Azurite. Without it the memory of this process has to do.
    #[arg(long, value_name = "CONNECTION")]
    storage: Option<String>,
}

/// How often a look is taken at hosts that may have stopped themselves.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the app until Ctrl-C, which lets running invocations end, or until its host stops itself.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let settings = gather(&options)?;
    let many = options.instances > 1;
    let config = |number: usize| {
        let mut config = HostConfig::new(&options.app, settings.clone());
        config.own_process_group = true;
        config.http_port = if number == 0 { options.port } else { 0 };
        let print: LineSink = Arc::new(move |line| print(many.then_some(number), line));
        config.on_line = Some(print);
        config
    };
    let fleet = Fleet::start(options.instances.into(), config).await;
    let fleet = fleet.with_context(|| {
        format!(
            "the app in {} cannot run (settings come from \"Values\" in local.settings.json, the environment, \
             and --set NAME=VALUE)",
            options.app.display()
        )
    })?;
    let over = tokio::select! {
        done = stopped() => done.map(|()| None)?,
        reason = stopped_itself(&fleet) => Some(reason),
    };
    if let Some(reason) = over {
        // The others would go on in Azure, and so would this one after a moment; at a desk somebody
        // should read why.
        fleet.stop().await;
        anyhow::bail!("the host stopped itself: {reason}");
    }
    out::line("Stopping: running invocations may end. Ctrl-C again ends them now.");
    tokio::select! {
        () = fleet.stop() => Ok(ExitCode::SUCCESS),
        done = stopped() => done.map(|()| ExitCode::FAILURE),
    }
}

/// All app settings: as Core Tools has it, the environment wins over the file.
fn gather(options: &Options) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = settings::from_file(&options.app, options.settings.as_deref())?;
    settings.extend(std::env::vars_os().filter_map(|(name, value)| {
        // What is no text cannot be a setting.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    }));
    for pair in &options.set {
        let (name, value) = pair.split_once('=').context("--set takes NAME=VALUE")?;
        settings.insert(name.to_owned(), value.to_owned());
    }
    if let Some(storage) = &options.storage {
        settings.insert("AzureWebJobsStorage".to_owned(), storage.clone());
    }
    if let Some(connection) = &options.connection {
        for name in connection_names(&options.app)? {
            settings.insert(name, connection.clone());
        }
    }
    Ok(settings)
}

async fn stopped_itself(fleet: &Fleet) -> String {
    let mut ready = vec![false; fleet.hosts().len()];
    loop {
        for (number, host) in fleet.hosts().iter().enumerate() {
            match host.state() {
                HostState::HostStopped { reason } => return reason,
                HostState::Ready if !ready[number] => {
                    ready[number] = true;
                    let pid = host.handler_pid().unwrap_or_default();
                    let text = format!(
                        "Worker process started and initialized (process {pid}, port {}).",
                        host.handler_port()
                    );
                    let line = LogLine {
                        source: LineSource::Host,
                        level: LineLevel::Information,
                        text,
                    };
                    print((ready.len() > 1).then_some(number), &line);
                }
                _ => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A line in the form of Core Tools.
fn print(instance: Option<usize>, line: &LogLine) {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // The present always formats.
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    let instance = instance.map_or(String::new(), |number| format!("#{number} "));
    let level = match line.level {
        LineLevel::Information => "",
        LineLevel::Warning => "warning: ",
        LineLevel::Error => "error: ",
    };
    out::line(format_args!("[{now}] {instance}{level}{}", line.text));
}
