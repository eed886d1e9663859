//! The whole loop as fast as it goes, with telemetry and without, in turn.

use std::time::{Duration, Instant};

use super::side::{Side, accepted};
use crate::bench::goal;
use crate::out;

/// With telemetry, so much of what is done without it.
const SHARE: f64 = 0.9;
/// Changes before anything counts: tokens, secrets, connections, and caches that fill.
const WARM_UP: usize = 500;

#[derive(Default)]
struct Sum {
    invocations: f64,
    took: Duration,
    cpu: Duration,
}

impl Sum {
    fn rate(&self) -> f64 {
        self.invocations / self.took.as_secs_f64()
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.invocations
    }
}

/// Whether telemetry costs little enough.
pub(super) async fn run(rounds: usize, changes: usize, sampling: f64) -> anyhow::Result<bool> {
    out::line(format_args!(
        "\nThe loop with telemetry ({sampling} % of the invocations) and without, {rounds} rounds of {changes} changes:"
    ));
    let mut sides = [Side::start(None).await?, Side::start(Some(sampling)).await?];
    for side in &mut sides {
        round(side, WARM_UP).await?;
    }
    let mut sums = [Sum::default(), Sum::default()];
    for number in 1..=rounds {
        // Who begins changes: what the first leaves behind may slow the second down.
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut rates = [0.0; 2];
        for which in order {
            let sum = round(&mut sides[which], changes).await?;
            rates[which] = sum.rate();
            sums[which].invocations += sum.invocations;
            sums[which].took += sum.took;
            sums[which].cpu += sum.cpu;
        }
        let [off, on] = rates;
        out::line(format_args!(
            "  round {number:>2}  off {off:>6.0}/s  on {on:>6.0}/s  {:.3}",
            on / off
        ));
    }
    // The plug-in tells the same on both sides.
    let [plug_in, all] = [accepted(&sides[0])?, accepted(&sides[1])?];
    let [off, on] = &sums;
    out::line(format_args!(
        "  handlers' processor time an invocation: off {:.0} us, on {:.0} us ({:.2}x)",
        off.cpu_us(),
        on.cpu_us(),
        on.cpu_us() / off.cpu_us(),
    ));
    let ratio = on.rate() / off.rate();
    let what = format!(
        "invocations a second with telemetry at least {SHARE} of those without: {:.0}/s of {:.0}/s, {ratio:.3}",
        on.rate(),
        off.rate()
    );
    for side in sides {
        side.stack.shutdown().await;
    }
    Ok(goal(&what, ratio >= SHARE && all > plug_in))
}

/// Makes so many changes at once and waits for the last one's end.
#[expect(clippy::cast_precision_loss, reason = "few invocations")]
async fn round(side: &mut Side, changes: usize) -> anyhow::Result<Sum> {
    let (before, cpu) = (side.invocations(), side.cpu()?);
    let began = Instant::now();
    for _ in 0..changes {
        side.change()?;
    }
    side.drained().await?;
    let took = began.elapsed();
    Ok(Sum {
        invocations: (side.invocations() - before) as f64,
        took,
        cpu: side.cpu()?.saturating_sub(cpu),
    })
}
