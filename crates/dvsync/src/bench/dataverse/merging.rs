//! Requests per changed row: the passes that ship, once with merging and once without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use local_stack::dataverse::{
    Dataverse, DataverseConfig, DataverseFaults, RequestCounts, RequestKind, WebServers,
};
use serde_json::json;
use service_bus::OutgoingMessage;
use sync_core::dataverse::{DataverseClient, DataverseOptions, Merging, RequestLimit};
use sync_core::inbound::Inbound;
use sync_core::message::Message;
use sync_core::outbound::{Outbound, OutboundParts};
use sync_core::ports::{SystemClock, system_rng};
use sync_core::queue::Settler;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::goal;
use super::world::{Memory, Pipe, lock, named, received, sync_config};
use crate::out;

const DEADLINE: Duration = Duration::from_secs(120);

pub(super) async fn run(rows: usize, in_flight: usize, latency_ms: u64) -> anyhow::Result<bool> {
    out::line(format!(
        "{rows} rows change once each; {in_flight} notifications and {in_flight} acknowledgements in flight; \
         a request to Dataverse takes {latency_ms} ms"
    ));
    let merged = measure(rows, in_flight, latency_ms, Some(Merging::default())).await?;
    show("merged", rows, &merged);
    let naive = measure(rows, in_flight, latency_ms, None).await?;
    show("naive", rows, &naive);
    let per_row = merged.0.total() as f64 / rows as f64;
    Ok(goal(
        "merged: at most 0.1 requests per changed row",
        per_row <= 0.1,
    ))
}

fn show(mode: &str, rows: usize, (counts, took): &(RequestCounts, Duration)) {
    let kinds = [
        ("single reads", RequestKind::GetSingle),
        ("page reads", RequestKind::GetCollection),
        ("single writes", RequestKind::Update),
        ("batches", RequestKind::Batch),
    ];
    let kinds = kinds.map(|(name, kind)| format!("{} {name}", counts.of(kind)));
    out::line(format!(
        "  {mode:7} {:.3} requests per changed row: {} requests ({}), {:.1} s, {:.0} rows/s",
        counts.total() as f64 / rows as f64,
        counts.total(),
        kinds.join(", "),
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64()
    ));
}

/// Lets every row change, and counts the requests until each change is delivered and acknowledged.
async fn measure(
    rows: usize,
    in_flight: usize,
    latency_ms: u64,
    merging: Option<Merging>,
) -> anyhow::Result<(RequestCounts, Duration)> {
    let dataverse = Dataverse::start(DataverseConfig {
        sample_accounts: rows,
        servers: WebServers {
            dop_hint: 48,
            ..WebServers::default()
        },
        faults: DataverseFaults {
            latency_ms,
            ..DataverseFaults::default()
        },
        ..DataverseConfig::default()
    })
    .await?;
    for id in dataverse.ids("account") {
        dataverse.save("account", Some(id), &json!({"telephone1": "555-0142"}))?;
    }
    let notifications: Vec<Message> = dataverse.changes().iter().map(notification).collect();
    ensure!(notifications.len() == rows, "not every row changed");

    let (config, target) = (sync_config()?, Arc::new(Memory::default()));
    let (acknowledge, mut acknowledgements) = mpsc::unbounded_channel();
    let (returned, mut back) = mpsc::unbounded_channel();
    let url = dataverse.url().parse()?;
    let client = || {
        let options = DataverseOptions {
            merging,
            // The number of requests is what is counted here; nothing limits it.
            limit: RequestLimit {
                requests: u32::MAX,
                ..RequestLimit::default()
            },
            ..DataverseOptions::default()
        };
        // One client per function app, as in the real thing.
        DataverseClient::new(&url, named(1), options).map(Arc::new)
    };
    let (clock, rng) = (Arc::new(SystemClock), system_rng());
    let outbound = Outbound::new(OutboundParts {
        config: Arc::clone(&config),
        source: client()?,
        target: Arc::clone(&target) as _,
        outbound: Arc::new(Pipe(returned.clone())),
        inbound: Arc::new(Pipe(acknowledge)),
        clock: clock.clone(),
        rng: rng.clone(),
        deadline: DEADLINE,
    });
    let settler = Settler::new(Arc::new(Pipe(returned)), clock, rng.clone());
    let inbound = Inbound::new(config, client()?, settler, rng, DEADLINE);

    let started = Instant::now();
    let work = Arc::new(Mutex::new(notifications.into_iter()));
    let mut senders = JoinSet::new();
    for _ in 0..in_flight {
        let (outbound, work) = (outbound.clone(), Arc::clone(&work));
        senders.spawn(async move {
            loop {
                let next = work.lock().await.next();
                let Some(message) = next else {
                    return anyhow::Ok(());
                };
                outbound.handle(message).await?;
            }
        });
    }
    let writers = tokio::spawn(async move {
        let mut writing = JoinSet::new();
        for _ in 0..rows {
            while writing.len() >= in_flight {
                writing
                    .join_next()
                    .await
                    .context("nothing to wait for")???;
            }
            let message = acknowledgements
                .recv()
                .await
                .context("no acknowledgement")?;
            let inbound = inbound.clone();
            writing.spawn(async move { inbound.handle(message).await });
        }
        while let Some(done) = writing.join_next().await {
            done??;
        }
        anyhow::Ok(())
    });
    while let Some(done) = senders.join_next().await {
        done??;
    }
    writers.await??;
    let took = started.elapsed();

    ensure!(back.try_recv().is_err(), "a message was rescheduled");
    let delivered = lock(&target.upserts).len();
    ensure!(
        delivered == rows,
        "{delivered} of {rows} rows were delivered"
    );
    let acknowledged = dataverse.rows("account");
    let acknowledged = acknowledged.iter().filter(|row| row["dvs_ackstate"] == 1);
    let acknowledged = acknowledged.count();
    ensure!(
        acknowledged == rows,
        "{acknowledged} of {rows} rows are acknowledged"
    );
    let counts = dataverse.counters().integration;
    dataverse.shutdown().await;
    Ok((counts, took))
}

fn notification(change: &local_stack::dataverse::Change) -> Message {
    let id = change.notification_id.unwrap_or_default().to_string();
    let body = json!({
        "schemaVersion": 1, "notificationId": id, "correlationId": change.correlation_id,
        "table": change.table, "sourceRowId": change.row_id, "operation": change.operation.as_str(),
        "occurredAt": "2026-03-02T09:15:30Z", "rowVersion": change.version.to_string(),
    });
    received(OutgoingMessage {
        message_id: Some(id),
        body: body.to_string().into(),
        ..OutgoingMessage::default()
    })
}
