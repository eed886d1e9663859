//! Messages per second: ours and the official clients', against one broker, one after the other.
//!
//! All do the same: as many sends under way, batches as large, as much credit, and a batch's
//! settlements all at once. Where an official client offers several ways to do it, its best counts.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use futures_util::stream::{self, TryStreamExt};
use serde::Deserialize;
use service_bus::{Client, ClientOptions, OutgoingMessage, ReceiveMode, Settlement};
use tokio::process::Command;

use super::Options;
use super::emulator::Emulator;
use crate::bench::goal;
use crate::out;

const OFFICIAL: [&str; 2] = ["python", "node"];
/// Messages in a batch, and asked for by one receive.
const BATCH: usize = 100;
/// Sends under way at a time.
const IN_FLIGHT: usize = 64;
/// Settlements over `$management` under way at a time. No official client is compared in that.
const SETTLING: usize = 256;
/// Messages on their way to a receiver at most.
const CREDIT: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

const ONE_BY_ONE: &str = "send, one by one";
const PIPELINED: &str = "send, pipelined";
const BATCHES: &str = "send, batches of 100";
const COMPLETE: &str = "receive and complete";
const DELETE: &str = "receive and delete";
const SETTLE: &str = "settle over $management";

/// What a client achieved, by measure: messages per second.
type Rates = BTreeMap<String, f64>;

/// The best of what a client achieved, by measure, and in which of its ways.
type Best = BTreeMap<String, (f64, String)>;

/// Measures, prints the table, and says whether the goals were met.
pub(super) async fn run(options: &Options) -> anyhow::Result<bool> {
    let emulator = Emulator::start(&["ours", "python", "node"]).await?;
    let ours = measure_ours(&emulator.connection_string, options).await?;
    let mut official = Vec::new();
    if !options.ours_only {
        for client in OFFICIAL {
            official.push(measure_official(client, &emulator.connection_string, options).await?);
        }
    }
    out::line(format_args!(
        "Messages of {} bytes per second, loopback, one broker:\n{:26}{:>12}{:>16}{:>18}",
        options.body, "", "ours", "Python 7.15.0", "JavaScript 7.9.5"
    ));
    for (measure, (rate, _)) in &ours {
        let mut row = format!("{measure:26}{rate:>12.0}");
        for (rates, width) in official.iter().zip([16, 18]) {
            let cell = rates.get(measure).map_or_else(
                || "-".to_owned(),
                |(theirs, _)| format!("{theirs:.0} ({:.1}x)", rate / theirs),
            );
            row.push_str(&format!("{cell:>width$}"));
        }
        out::line(row);
    }
    let all = [("ours", &ours)].into_iter();
    for (client, rates) in all.chain(OFFICIAL.into_iter().zip(&official)) {
        let ways: Vec<String> = rates
            .iter()
            .map(|(measure, (_, way))| format!("{measure}: {way}"))
            .collect();
        out::line(format_args!("{client} at its best by {}", ways.join("; ")));
    }
    out::line(format_args!(
        "Like for like in all rows: {IN_FLIGHT} sends in flight when pipelined, batches and credit of \
         {BATCH},\na batch settled at once. Only {SETTLE:?} is ours alone."
    ));
    let ours = |measure| ours.get(measure).map_or(0.0, |(rate, _)| *rate);
    let settled = ours(SETTLE);
    let mut met = goal(
        "settle over $management: at least 10,000/s",
        settled >= 10_000.0,
    );
    if !official.is_empty() {
        for measure in [PIPELINED, COMPLETE, DELETE] {
            let best = official.iter().filter_map(|rates| rates.get(measure));
            let best = best.map(|(rate, _)| *rate).fold(0.0, f64::max);
            let ratio = ours(measure) / best;
            let what =
                format!("{measure}: at least 5x the better of the official ones ({ratio:.1}x)");
            met &= goal(&what, ratio >= 5.0);
        }
    }
    Ok(met)
}

/// Ours on two kinds of runtime, since the official clients have their best way counted, too.
async fn measure_ours(connection_string: &str, options: &Options) -> anyhow::Result<Best> {
    let mut best = Best::new();
    let (count, body) = (options.messages, options.body);
    let connection_string = connection_string.to_owned();
    let (ours_here, ours_there) = (connection_string.clone(), connection_string);
    // Spawned, as in any server: on the main thread each answer would have to cross threads.
    let spawned = tokio::spawn(async move { ours(&ours_here, count, body).await }).await??;
    let alone = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(ours(&ours_there, count, body))
    })
    .await??;
    for (way, rates) in [("two worker threads", spawned), ("one thread", alone)] {
        for (measure, rate) in rates {
            keep_best(&mut best, measure, rate, way);
        }
    }
    Ok(best)
}

fn keep_best(best: &mut Best, measure: String, rate: f64, way: &str) {
    let known = best.get(&measure).map_or(0.0, |(known, _)| *known);
    if rate > known {
        best.insert(measure, (rate, way.to_owned()));
    }
}

async fn ours(connection_string: &str, count: usize, body: usize) -> anyhow::Result<Rates> {
    const QUEUE: &str = "ours";
    let client = Client::from_connection_string(connection_string, ClientOptions::default())?;
    let message = || OutgoingMessage::new(vec![b'x'; body]);
    let mut rates = Rates::new();
    // Connected, authorized and attached: that is not what is measured.
    client.send(QUEUE, message()).await?;

    let (started, few) = (Instant::now(), count / 5);
    for _ in 0..few {
        client.send(QUEUE, message()).await?;
    }
    rates.insert(ONE_BY_ONE.into(), per_second(few, started));

    let started = Instant::now();
    stream::iter((0..count).map(Ok::<_, service_bus::Error>))
        .try_for_each_concurrent(IN_FLIGHT, |_| client.send(QUEUE, message()))
        .await?;
    rates.insert(PIPELINED.into(), per_second(count, started));

    let started = Instant::now();
    for _ in 0..count / BATCH {
        let batch = (0..BATCH).map(|_| message()).collect();
        client.send_batch(QUEUE, batch).await?;
    }
    rates.insert(BATCHES.into(), per_second(count / BATCH * BATCH, started));

    let mut receiver = client
        .receiver(QUEUE, ReceiveMode::PeekLock, CREDIT)
        .await?;
    let (started, mut done) = (Instant::now(), 0);
    while done < count {
        let messages = receiver.receive(BATCH, PATIENCE).await?;
        let settled = messages
            .iter()
            .map(|message| receiver.settle(message, Settlement::Complete));
        done += try_join_all(settled).await?.len();
    }
    rates.insert(COMPLETE.into(), per_second(done, started));

    // The locks first, then nothing but the requests.
    let (wanted, mut tokens) = ((count / 2).min(20_000), Vec::new());
    while tokens.len() < wanted {
        let missing = (wanted - tokens.len()).min(1000);
        let messages = receiver.receive(missing, PATIENCE).await?;
        tokens.extend(messages.iter().filter_map(|message| message.lock_token));
    }
    let (started, settled) = (Instant::now(), tokens.len());
    stream::iter(tokens.into_iter().map(Ok::<_, service_bus::Error>))
        .try_for_each_concurrent(SETTLING, |token| {
            client.settle(QUEUE, token, Settlement::Complete)
        })
        .await?;
    rates.insert(SETTLE.into(), per_second(settled, started));
    receiver.close().await?;

    let mut receiver = client
        .receiver(QUEUE, ReceiveMode::ReceiveAndDelete, CREDIT)
        .await?;
    let (started, mut done) = (Instant::now(), 0);
    while done < count / 2 {
        let messages = receiver.receive(BATCH, PATIENCE).await?;
        if messages.is_empty() {
            bail!("{done} of {} messages came", count / 2);
        }
        done += messages.len();
    }
    rates.insert(DELETE.into(), per_second(done, started));
    receiver.close().await?;
    client.close().await;
    Ok(rates)
}

/// A line of an official client's output.
#[derive(Deserialize)]
struct Line {
    measure: String,
    /// Which of the client's ways.
    way: String,
    messages: usize,
    seconds: f64,
}

async fn measure_official(
    client: &str,
    connection_string: &str,
    options: &Options,
) -> anyhow::Result<Best> {
    let program = &options.official;
    let output = Command::new(program)
        .args([client, connection_string, client])
        .arg(options.official_messages.to_string())
        .arg(options.body.to_string())
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("cannot run {} (--official)", program.display()))?;
    if !output.status.success() {
        bail!("the {client} client failed: {}", output.status);
    }
    let mut best = Best::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Line = serde_json::from_str(line)?;
        let rate = rate(line.messages, line.seconds);
        keep_best(&mut best, line.measure, rate, &line.way);
    }
    Ok(best)
}

fn per_second(messages: usize, started: Instant) -> f64 {
    rate(messages, started.elapsed().as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "rates for people to read")]
fn rate(messages: usize, seconds: f64) -> f64 {
    messages as f64 / seconds
}
