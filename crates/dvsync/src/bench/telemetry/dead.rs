//! Ingestion is gone for a long time: the apps' memory, and how long their invocations take, beside a loop
//! without telemetry that does the same at the same time.

use std::time::{Duration, Instant};

use anyhow::Context;
use local_stack::dataverse::DataverseFaults;
use local_stack::insights::{InsightsFaults, Outage};
use local_stack::target::Faults;

use super::side::{FUNCTIONS, Side, accepted};
use crate::bench::goal;
use crate::bench::process::mib;
use crate::out;

/// How much more memory than in the first half still counts as bounded.
const MEMORY: f64 = 1.1;
/// An invocation that takes more than so many medians counts as slow.
const SLOW: f64 = 1.1;
/// Both sides at work, ingestion there, before it goes.
const BEFORE: Duration = Duration::from_secs(20);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often that is printed.
const TELL: u32 = 30;

pub(super) struct Load {
    pub(super) lasts: Duration,
    pub(super) every: Duration,
    pub(super) latency_ms: u64,
}

/// Whether the apps did not mind.
pub(super) async fn run(load: &Load) -> anyhow::Result<bool> {
    out::line(format_args!(
        "\nIngestion is gone for {} s: half of that it cuts every connection, then it takes requests and is silent.\n\
         A change every {} ms on each side; Dataverse takes {} ms, the target {} ms; every invocation is kept:",
        load.lasts.as_secs(),
        load.every.as_millis(),
        load.latency_ms,
        load.latency_ms * 3 / 2,
    ));
    let mut off = Side::start(None).await?;
    let mut on = Side::start(Some(100.0)).await?;
    for side in [&off, &on] {
        side.stack.dataverse.set_faults(DataverseFaults {
            latency_ms: load.latency_ms,
            ..DataverseFaults::default()
        });
        side.stack.target.set_faults(Faults {
            latency_ms: load.latency_ms * 3 / 2,
            ..Faults::default()
        });
    }
    work(&mut off, &mut on, BEFORE, load.every, |_, _| Ok(())).await?;
    for side in [&off, &on] {
        side.drained().await?;
        side.take_lengths();
    }
    let came = accepted(&on)?;

    let mut peaks = [0, 0];
    for (half, outage) in [(0, Outage::Cut), (1, Outage::Silent)] {
        be(&on, outage)?;
        let mut looks = 0;
        let began = half * load.lasts.as_secs() / 2;
        work(&mut off, &mut on, load.lasts / 2, load.every, |off, on| {
            let (without, with) = (off.memory_kib()?, on.memory_kib()?);
            peaks[usize::from(half > 0)] = with.max(peaks[usize::from(half > 0)]);
            looks += 1;
            if looks % TELL == 0 {
                out::line(format_args!(
                    "  {:>4} s  {outage:?}  larger handler: off {:>5.1} MiB, on {:>5.1} MiB",
                    began + u64::from(looks),
                    mib(without),
                    mib(with)
                ));
            }
            Ok(())
        })
        .await?;
    }
    for side in [&off, &on] {
        side.drained().await?;
    }
    let met = memory(peaks) & lengths(&off, &on) & back(&on, came).await?;
    for side in [off, on] {
        side.stack.shutdown().await;
    }
    Ok(met)
}

/// Both sides change rows, at the same pace.
async fn work(
    off: &mut Side,
    on: &mut Side,
    lasts: Duration,
    every: Duration,
    mut look: impl FnMut(&Side, &Side) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (end, mut next) = (Instant::now() + lasts, Instant::now() + LOOK);
    let mut ticks = tokio::time::interval(every);
    while Instant::now() < end {
        for side in [&mut *off, &mut *on] {
            // Half a period apart, so that they do not meet in each other's way.
            ticks.reset_after(every / 2);
            ticks.tick().await;
            side.change()?;
        }
        if Instant::now() >= next {
            next += LOOK;
            look(off, on)?;
        }
    }
    Ok(())
}

fn be(side: &Side, outage: Outage) -> anyhow::Result<()> {
    let insights = side.stack.insights.as_ref();
    insights
        .context("no ingestion")?
        .set_faults(InsightsFaults {
            outage,
            ..InsightsFaults::default()
        });
    Ok(())
}

fn memory([first, second]: [u64; 2]) -> bool {
    let what = format!(
        "memory bounded: at most {:.1} MiB in the second half, {:.1} MiB in the first",
        mib(second),
        mib(first)
    );
    goal(&what, mib(second) <= mib(first) * MEMORY)
}

/// Prints the lengths of the invocations, and whether those with telemetry are as without.
fn lengths(off: &Side, on: &Side) -> bool {
    let (off, on) = (off.take_lengths(), on.take_lengths());
    let mut met = true;
    for function in FUNCTIONS {
        let none = Vec::new();
        let off = off.get(function).unwrap_or(&none);
        let on = on.get(function).unwrap_or(&none);
        let median = f64::from(quantile(off, 0.5));
        let slow = |all: &[u32]| {
            all.iter()
                .filter(|ms| f64::from(**ms) > median * SLOW)
                .count()
        };
        for (name, all) in [("off", off), ("on ", on)] {
            out::line(format_args!(
                "  {function:<8} {name}  {:>6} invocations  p50 {} ms  p99 {} ms  p99.9 {} ms  longest {} ms  above {SLOW} medians: {}",
                all.len(),
                quantile(all, 0.5),
                quantile(all, 0.99),
                quantile(all, 0.999),
                quantile(all, 1.0),
                slow(all),
            ));
        }
        let what = format!(
            "{function}: no invocation longer than {SLOW} medians of those without telemetry: {} of {} are, without telemetry {} of {}",
            slow(on),
            on.len(),
            slow(off),
            off.len()
        );
        met &= goal(&what, !on.is_empty() && slow(on) == 0);
    }
    met
}

/// `all` is sorted.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn quantile(all: &[u32], share: f64) -> u32 {
    let place = (all.len() as f64 * share).ceil() as usize;
    all.get(place.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Whether telemetry arrives again once ingestion is back.
async fn back(on: &Side, came: u64) -> anyhow::Result<bool> {
    let lost_to_the_outage = accepted(on)?;
    be(on, Outage::No)?;
    let began = Instant::now();
    while accepted(on)? == lost_to_the_outage && began.elapsed() < Duration::from_secs(90) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let what = format!(
        "telemetry arrives again: the first items {:.1} s after ingestion came back ({came} before it went)",
        began.elapsed().as_secs_f64()
    );
    Ok(goal(&what, accepted(on)? > lost_to_the_outage))
}
