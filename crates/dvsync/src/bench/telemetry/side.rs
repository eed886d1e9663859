//! One of the two loops that are compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use local_stack::apps::{self, Form};
use local_stack::host::{Fleet, LogLine};
use local_stack::stack::{Ports, Stack, StackConfig, TelemetryConfig};
use serde_json::json;
use uuid::Uuid;

use crate::bench::process;

/// The functions that messages are handed to.
pub(super) const FUNCTIONS: [&str; 2] = ["Outbound", "Inbound"];
/// Rows that are changed in turn: so many that none is changed twice at a time.
const ROWS: usize = 2_000;
/// A message is stuck after this.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long invocations took, milliseconds, by function.
type Lengths = BTreeMap<&'static str, Vec<u32>>;

pub(super) struct Side {
    pub(super) stack: Stack,
    rows: Vec<Uuid>,
    made: usize,
    lengths: Arc<Mutex<Lengths>>,
}

impl Side {
    /// Starts a loop; `sampling` (percent) turns the apps' telemetry on.
    pub(super) async fn start(sampling: Option<f64>) -> anyhow::Result<Self> {
        let lengths = Arc::new(Mutex::new(Lengths::new()));
        let told = Arc::clone(&lengths);
        let percent = sampling.unwrap_or_default().to_string();
        let mut settings = BTreeMap::from(
            [
                // The sweep would be work that neither side's messages cause.
                ("SWEEP_SCHEDULE", "0 0 0 1 1 *"),
                ("TELEMETRY_SAMPLING_PERCENT", percent.as_str()),
                // As in Azure, where nobody waits at a screen.
                ("TELEMETRY_METRICS_SECONDS", "60"),
                ("OTEL_BSP_SCHEDULE_DELAY", "5000"),
                ("OTEL_BLRP_SCHEDULE_DELAY", "1000"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if sampling.is_none() {
            let connection = "APPLICATIONINSIGHTS_CONNECTION_STRING";
            settings.insert(connection.to_owned(), String::new());
        }
        let stack = Stack::start(StackConfig {
            binaries: tokio::task::spawn_blocking(apps::binaries).await??,
            packages: None,
            target_key: None,
            sync_json: apps::sync_json().to_owned(),
            further_targets: Vec::new(),
            rows: ROWS,
            seed: 1,
            form: Form::Queue,
            ports: Ports::default(),
            // On both sides: the plug-in stand-in tells as much on each.
            telemetry: Some(TelemetryConfig::default()),
            settings,
            instances: 1,
            sessions: false,
            on_line: Some(Arc::new(move |_: &str, line: &LogLine| {
                if let Some((function, took)) = length(&line.text) {
                    let mut lengths = told.lock().unwrap_or_else(PoisonError::into_inner);
                    lengths.entry(function).or_default().push(took);
                }
            })),
        })
        .await?;
        for fleet in [&stack.outbound, &stack.inbound] {
            let ready = fleet.ready().await;
            ready.map_err(|state| anyhow!("a handler did not start: {state:?}"))?;
        }
        let rows = stack.dataverse.ids("account");
        Ok(Self {
            stack,
            rows,
            made: 0,
            lengths,
        })
    }

    /// Changes the next row.
    pub(super) fn change(&mut self) -> anyhow::Result<()> {
        let id = self.rows[self.made % self.rows.len()];
        self.made += 1;
        let columns = json!({"telephone1": format!("555-{}", self.made)});
        let saved = self.stack.dataverse.save("account", Some(id), &columns);
        saved.map(|_| ()).context("a save failed")
    }

    /// Waits until all that was changed is acknowledged.
    pub(super) async fn drained(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.stack.is_drained() {
            if began.elapsed() > PATIENCE {
                bail!("a change did not arrive within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Invocations so far.
    pub(super) fn invocations(&self) -> u64 {
        let fleets = [&self.stack.outbound, &self.stack.inbound];
        fleets.map(|fleet| fleet.invocations().started).iter().sum()
    }

    /// Processor time of both handlers so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let times = self.handlers().map(|pid| pid.and_then(process::cpu));
        let [Some(outbound), Some(inbound)] = times else {
            bail!("/proc does not tell the handlers' processor time")
        };
        Ok(outbound + inbound)
    }

    /// Resident memory of the larger handler, KiB.
    pub(super) fn memory_kib(&self) -> anyhow::Result<u64> {
        let sizes = self.handlers().map(|pid| pid.and_then(process::memory_kib));
        let largest = sizes.into_iter().flatten().max();
        largest.context("/proc does not tell the handlers' memory")
    }

    fn handlers(&self) -> [Option<u32>; 2] {
        let pid = |fleet: &Fleet| fleet.hosts().first()?.handler_pid();
        [pid(&self.stack.outbound), pid(&self.stack.inbound)]
    }

    /// Takes how long the invocations since the last call took, sorted.
    pub(super) fn take_lengths(&self) -> Lengths {
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *lengths);
        taken.values_mut().for_each(|all| all.sort_unstable());
        taken
    }
}

/// Function and milliseconds of the host's line about an invocation that succeeded.
fn length(line: &str) -> Option<(&'static str, u32)> {
    let rest = line.strip_prefix("Executed 'Functions.")?;
    let (name, rest) = rest.split_once("' (Succeeded")?;
    let function = FUNCTIONS.into_iter().find(|function| *function == name)?;
    let (_, took) = rest.split_once("Duration=")?;
    Some((function, took.strip_suffix("ms)")?.parse().ok()?))
}

/// Items that came to a side.
pub(super) fn accepted(side: &Side) -> anyhow::Result<u64> {
    let insights = side.stack.insights.as_ref();
    Ok(insights.context("no ingestion")?.counts().accepted)
}
