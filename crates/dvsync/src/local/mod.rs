//! `dvsync local`: the whole loop on this machine, watched.

mod faults;
mod governor;
mod instances;
mod lanes;
mod ledger;
mod order;
mod rotation;
mod show;
mod web;
mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use local_stack::apps::{self, Form, SyncFile};
use local_stack::host::{LineLevel, LogLine};
use local_stack::stack::{Ports, Stack, StackConfig, TelemetryConfig};
use serde_json::{Value, json};
use sync_core::config::SyncConfig;

use faults::{Profile, Saboteur};
use governor::Reports;
use ledger::Ledger;
use rotation::Rotation;
use show::Show;
use web::Page;

/// Options of `dvsync local`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Changes to make; without it, a few for show.
    #[arg(long)]
    changes: Option<u64>,
    /// Accounts: Microsoft's well-known sample accounts with their contacts first, then generated ones.
    #[arg(long, default_value_t = 10)]
    rows: usize,
    /// Seed of rows, changes and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instances of each function app, as a scaled-out plan runs them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    instances: u8,
    /// Give each row a session on the outbound queue: its notifications are worked on one at a time, in
    /// order.
    #[arg(long)]
    sessions: bool,
    /// Outbound as a topic, for two targets with a subscription, an outbound-fn and acknowledgement
    /// columns each, and a third subscription that nobody serves: the ledger counts retry copies that
    /// stray to it.
    #[arg(long, conflicts_with = "sessions")]
    topic: bool,
    /// What goes wrong: `light` and `heavy` inject failures of the target and of Dataverse, and `heavy`
    /// kills the function apps' processes as well.
    #[arg(long, value_enum, default_value_t = Profile::None)]
    faults: Profile,
    /// Take the (first) target down for so many seconds once half of the changes are made.
    #[arg(long, value_name = "SECONDS")]
    outage: Option<u64>,
    /// Rotate the (first) target's key after so many changes: Key Vault gets a new version, the target takes
    /// the old and the new key until every instance has the new one, and then only that. The apps read
    /// secrets again every 60 s meanwhile.
    #[arg(long, value_name = "CHANGES")]
    rotate_secret: Option<u64>,
    /// Stop once every change has reached its end, and print the ledger.
    #[arg(long)]
    exit_when_drained: bool,
    /// Give up waiting for that after so many seconds.
    #[arg(long, default_value_t = 600)]
    drain_timeout: u64,
    /// Write every telemetry item to this file, one a line, for `dvsync trace ID --from FILE`.
    #[arg(long, value_name = "FILE", conflicts_with = "no_telemetry")]
    telemetry_file: Option<PathBuf>,
    /// Start without Application Insights: the apps and the plug-in send no telemetry.
    #[arg(long)]
    no_telemetry: bool,
    /// Write the apps' settings to this file, as a local.settings.json, once all is up: what
    /// `dvsync check --live --settings FILE` and other commands take.
    #[arg(long, value_name = "FILE")]
    settings_file: Option<PathBuf>,
    /// Write the ledger to this file as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Print two lines of JSON and nothing else: where everything listens, then the ledger.
    #[arg(long)]
    json: bool,
    /// Port of the live page on loopback. Without it: 8300, or a free one when that is taken, and no page
    /// with `--exit-when-drained`.
    #[arg(long, value_name = "PORT")]
    page_port: Option<u16>,
    /// Print every line of both apps' logs.
    #[arg(long)]
    logs: bool,
}

/// Where `dvsync local` serves Service Bus, unless the port is taken.
pub(crate) const BUS_PORT: u16 = 5672;
/// Fixed ports, so that the printed commands can be typed from memory; a port that is taken is
/// replaced by a free one.
const PORTS: Ports = Ports {
    bus: BUS_PORT,
    dataverse: 8310,
    target: 8320,
    items: crate::trace::ITEMS_PORT,
};

const PAGE_PORT: u16 = 8300;

/// The target's key, for the same reason.
const TARGET_KEY: &str = "local-key";

/// Runs it.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let interactive = !options.exit_when_drained;
    let show = Arc::new(Show::new(options.json));
    show.step("Building outbound-fn and inbound-fn ...");
    let binaries = tokio::task::spawn_blocking(apps::binaries).await??;

    let started = Instant::now();
    let sync_json = local_sync_json(apps::sync_json())?;
    let mut configs = vec![SyncConfig::parse(&sync_json, "sync.json")?];
    let mut further_targets = Vec::new();
    if options.topic {
        let name = "sync.warehouse.json".to_owned();
        let text = local_sync_json(apps::sync_warehouse_json())?;
        configs.push(SyncConfig::parse(&text, &name)?);
        further_targets.push(SyncFile { name, text });
    }
    let (show_lines, all) = (Arc::clone(&show), options.logs);
    let reports = Arc::new(Reports::default());
    let told = Arc::clone(&reports);
    let stack = Stack::start(StackConfig {
        binaries,
        packages: None,
        sync_json,
        further_targets,
        rows: options.rows,
        seed: options.seed,
        form: if options.topic {
            Form::Topic
        } else {
            Form::Queue
        },
        ports: if interactive {
            free(PORTS)
        } else {
            Ports::default()
        },
        target_key: interactive.then(|| TARGET_KEY.to_owned()),
        telemetry: (!options.no_telemetry).then(|| TelemetryConfig {
            file: options.telemetry_file.clone(),
            ..TelemetryConfig::default()
        }),
        settings: settings(&options),
        instances: options.instances.into(),
        sessions: options.sessions,
        on_line: Some(Arc::new(move |app: &str, line: &LogLine| {
            if let Some(throttled) = told.take(app, line) {
                show_lines.throttled(&throttled);
            }
            // The host's late "complete" of a message that the app dead-lettered itself finds the lock
            // gone, as it does in Azure. Only `--logs` shows that.
            let expected = line.text.contains("message-lock-lost");
            if all || line.level > LineLevel::Information && !expected {
                show_lines.log(app, line);
            }
        })),
    })
    .await?;
    if let Some(path) = &options.settings_file {
        let file = json!({"IsEncrypted": false, "Values": stack.settings()});
        let text = serde_json::to_string_pretty(&file)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let page = match (options.page_port, interactive) {
        (Some(port), _) => Some(Page::start(port, &stack).await?),
        (None, true) => Some(Page::start(free_port(PAGE_PORT), &stack).await?),
        (None, false) => None,
    };
    show.endpoints(&stack, page.as_ref().map(Page::url));

    let mut run = Run {
        page,
        stack,
        configs,
        show,
        reports,
        started,
        first_synced: None,
        handler_kills: 0,
        outage_ended: None,
    };
    let finished = tokio::select! {
        finished = run.drive(&options) => finished,
        stopped = stopped() => stopped.map(|()| false),
    };
    let drained = finished?;
    let mut ledger = run.ledger();
    ledger.out_of_order = options
        .sessions
        .then(|| order::sent_out_of_order(&run.stack.target.calls()));
    if let Some(path) = &options.report {
        let text = serde_json::to_string_pretty(&ledger)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    run.show.ledger(&ledger, drained);
    if options.telemetry_file.is_some() {
        // The apps send in batches, and their host ends them without asking.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    run.stack.shutdown().await;
    if options.exit_when_drained && !drained {
        eprintln!("dvsync: not drained within {} s", options.drain_timeout);
        return Ok(ExitCode::FAILURE);
    }
    Ok(if ledger.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A run under way.
struct Run {
    page: Option<Page>,
    stack: Stack,
    /// In the order of the stack's targets.
    configs: Vec<SyncConfig>,
    show: Arc<Show>,
    reports: Arc<Reports>,
    started: Instant,
    first_synced: Option<Duration>,
    handler_kills: u64,
    outage_ended: Option<time::OffsetDateTime>,
}

impl Run {
    /// Makes the changes, watches them travel, and returns whether all have arrived.
    async fn drive(&mut self, options: &Options) -> anyhow::Result<bool> {
        let changes = options.changes.unwrap_or(0);
        let mut workload = workload::Workload::new(options.seed, &self.stack.dataverse);
        let planned = changes.max(if options.changes.is_none() {
            workload.rows()
        } else {
            0
        });
        let outage = options.outage.map(Duration::from_secs);
        let mut saboteur = Saboteur::new(options.faults, options.seed, outage, &self.stack);
        let mut rotation = Rotation::new(options.rotate_secret.map(|after| after.min(planned)));
        let (mut made, mut tick) = (0, tokio::time::interval(Duration::from_millis(20)));
        // On a slow machine the next look waits, instead of coming at once: others need the time more.
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut quiet_since, mut saved_last) = (None::<Instant>, Instant::now());
        loop {
            tick.tick().await;
            // Saves are spread, so that they meet what is under way, and never outrun a person's eye
            // when there is one.
            let batch = if options.changes.is_some() {
                (planned / 100).clamp(1, 50)
            } else {
                1
            };
            let allowed = rotation.allowed(planned);
            for _ in 0..batch.min(allowed.saturating_sub(made)) {
                workload
                    .change(&self.stack.dataverse)
                    .context("the workload's own save failed")?;
                made += 1;
                saved_last = Instant::now();
            }
            self.watch(planned);
            rotation.act(&self.stack, made);
            self.handler_kills += saboteur.act(&self.stack, made == planned);
            if made >= planned / 2 {
                saboteur.outage(&self.stack);
            }
            self.outage_ended = saboteur.outage_ended();
            if made < planned || !saboteur.is_done() || !rotation.is_done() {
                continue;
            }
            if !options.exit_when_drained {
                if quiet_since.is_none() && self.stack.is_drained() {
                    quiet_since = Some(Instant::now());
                    self.show
                        .things_to_try(&self.stack, rotation.key(&self.stack));
                }
                continue;
            }
            match (self.stack.is_drained(), quiet_since) {
                (false, _) => quiet_since = None,
                (true, None) => quiet_since = Some(Instant::now()),
                // Twice in a row, with time for anything in between to show up, and for the apps' last
                // words about their identities.
                (true, Some(since)) if since.elapsed() > Duration::from_millis(500) => {
                    self.watch(planned);
                    return Ok(true);
                }
                (true, Some(_)) => {}
            }
            if saved_last.elapsed() > Duration::from_secs(options.drain_timeout) {
                return Ok(false);
            }
        }
    }

    fn watch(&mut self, planned: u64) {
        let lanes = lanes::lanes(&self.stack, &self.configs);
        self.show
            .travels(&self.stack, &lanes, &self.reports, planned);
        if let (Some(page), Some(lane)) = (&mut self.page, lanes.first()) {
            page.follow(&self.stack, lane, &self.reports);
        }
        if self.first_synced.is_none() && self.show.has_seen_one() {
            self.first_synced = Some(self.started.elapsed());
        }
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::count(&self.stack, &self.configs);
        ledger.handler_kills = self.handler_kills;
        ledger.identities = self.reports.identities();
        ledger.instances = instances::instances(&self.stack);
        ledger.mean_page_rows = self.reports.mean_page_rows();
        ledger.recovery_peak_per_second = self
            .outage_ended
            .map(|ended| ledger::peak(&self.stack, &self.configs[0], ended));
        ledger.first_synced_ms = self.first_synced.map(|d| d.as_millis());
        ledger.elapsed_ms = self.started.elapsed().as_millis();
        ledger
    }
}

/// App settings on top of the stack's own.
fn settings(options: &Options) -> BTreeMap<String, String> {
    let rotating = options.rotate_secret.is_some();
    let refresh = rotating.then(|| rotation::REFRESH.as_secs().to_string());
    let refresh = refresh.map(|seconds| ("SECRET_REFRESH_SECONDS".to_owned(), seconds));
    refresh.into_iter().collect()
}

/// A shipped sync file with the patience of a demonstration: seconds instead of minutes.
fn local_sync_json(shipped: &str) -> anyhow::Result<String> {
    let mut file: Value = serde_json::from_str(shipped)?;
    let Some(members) = file.as_object_mut() else {
        bail!("a shipped sync file is not an object")
    };
    members.insert(
        "retry".into(),
        json!({"baseSeconds": 0.5, "factor": 2, "capSeconds": 10, "jitter": 0.2, "maxRetries": 12,
            "maxAgeHours": 1, "configDelaySeconds": 5, "inProcessRetries": 2}),
    );
    members.insert(
        "breaker".into(),
        json!({"failures": 10, "openSeconds": 2, "maxOpenSeconds": 10, "rampPerSecond": 50, "rampSeconds": 20}),
    );
    members["target"]["timeoutSeconds"] = json!(2);
    Ok(file.to_string())
}

fn free(ports: Ports) -> Ports {
    Ports {
        bus: free_port(ports.bus),
        dataverse: free_port(ports.dataverse),
        target: free_port(ports.target),
        items: free_port(ports.items),
    }
}

fn free_port(port: u16) -> u16 {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port));
    if listener.is_ok() { port } else { 0 }
}

/// Until Ctrl-C, or SIGTERM from a script.
pub(crate) async fn stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        done = tokio::signal::ctrl_c() => done.context("cannot listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}
