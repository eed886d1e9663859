//! `cargo run --release -p simulation -- --seeds 2000`: runs seeds, and tells the story of one that fails.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::anyhow;
use clap::Parser;
use simulation::figures::Figures;
use simulation::plan::{Fault, Plan};
use simulation::run::{Outcome, run};
use simulation::shrink::shrink;

/// Runs the whole loop of dataverse-sync in a simulated world, with faults, and checks its promises.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Business changes per seed.
    #[arg(long, default_value_t = 100)]
    notifications: u32,
    /// Threads; each runs its own seeds.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Print what happened to the rows whose promise was broken, or to all if none was.
    #[arg(long, requires = "seed")]
    story: bool,
    /// Rows the changes fall on, instead of what the seed says.
    #[arg(long)]
    rows: Option<usize>,
    /// Instances of outbound-fn, instead of what the seed says.
    #[arg(long)]
    outbound_instances: Option<usize>,
    /// Instances of inbound-fn, instead of what the seed says.
    #[arg(long)]
    inbound_instances: Option<usize>,
    /// Classes of faults to switch off.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Fault>,
    /// Classes of faults to leave on, as far as the seed has them.
    #[arg(long, value_delimiter = ',', conflicts_with = "without")]
    only: Option<Vec<Fault>>,
    /// Report a failing seed as it is, without looking for a smaller plan that fails too.
    #[arg(long)]
    no_shrink: bool,
    /// Go on after a failing seed.
    #[arg(long)]
    keep_going: bool,
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::of_seed(seed, self.notifications);
        plan.rows = self.rows.unwrap_or(plan.rows).max(1);
        plan.outbound_instances = self.outbound_instances.unwrap_or(plan.outbound_instances);
        plan.inbound_instances = self.inbound_instances.unwrap_or(plan.inbound_instances);
        let off = |fault: &Fault| match &self.only {
            Some(only) => !only.contains(fault),
            None => self.without.contains(fault),
        };
        let off = Fault::ALL.iter().copied().filter(off);
        off.fold(plan, Plan::without)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(&arguments, seed),
        None => many(&arguments),
    }
}

fn one(arguments: &Arguments, seed: u64) -> anyhow::Result<ExitCode> {
    let plan = arguments.plan(seed);
    let outcome = run(&plan, arguments.story)?;
    if arguments.story {
        let rows: Vec<_> = outcome.violations.iter().filter_map(|v| v.row).collect();
        for event in outcome.journal.story(&rows) {
            println!("{event}");
        }
    }
    println!("{}", describe(&plan));
    print_figures(&outcome.figures);
    println!(
        "events {}, hash {:016x}",
        outcome.journal.count(),
        outcome.journal.hash()
    );
    Ok(verdict(&outcome))
}

fn verdict(outcome: &Outcome) -> ExitCode {
    for violation in &outcome.violations {
        println!("BROKEN {violation}");
    }
    if outcome.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn describe(plan: &Plan) -> String {
    let faults: Vec<_> = plan.faults().iter().map(|f| f.name()).collect();
    format!(
        "seed {}: {} notifications, {} rows, {}+{} instances, {:?} target, faults: {}",
        plan.seed,
        plan.notifications,
        plan.rows,
        plan.outbound_instances,
        plan.inbound_instances,
        plan.target,
        if faults.is_empty() {
            "none".to_owned()
        } else {
            faults.join(" ")
        }
    )
}

fn print_figures(figures: &Figures) {
    for (label, value) in figures.labelled() {
        println!("  {value:>12} {label}");
    }
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    total: Figures,
    done: u64,
    failed: Vec<(Plan, Outcome)>,
}

fn many(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let shared = Mutex::new(Shared::default());
    let workers = || -> anyhow::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(());
            }
            let plan = arguments.plan(seed);
            let outcome = run(&plan, false)?;
            let mut shared = shared
                .lock()
                .map_err(|_| anyhow!("another thread panicked"))?;
            shared.total += outcome.figures;
            shared.done += 1;
            if !outcome.violations.is_empty() {
                println!("seed {seed} broke {}", outcome.violations[0]);
                shared.failed.push((plan, outcome));
                if !arguments.keep_going {
                    next.store(end, Ordering::Relaxed);
                }
            } else if shared.done % 500 == 0 {
                let seconds = began.elapsed().as_secs_f64();
                println!("{} seeds, {:.0} s", shared.done, seconds);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads.max(1))
            .map(|_| scope.spawn(workers))
            .collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let shared = shared
        .into_inner()
        .map_err(|_| anyhow!("a thread panicked"))?;
    let seconds = began.elapsed().as_secs_f64();
    print_figures(&shared.total);
    println!(
        "{} seeds in {seconds:.1} s, {:.0} simulated notifications/s, {} failed",
        shared.done,
        shared.total.notifications as f64 / seconds,
        shared.failed.len()
    );
    let Some((plan, outcome)) = shared.failed.into_iter().next() else {
        return Ok(ExitCode::SUCCESS);
    };
    println!("\n{}", describe(&plan));
    if arguments.no_shrink {
        return Ok(ExitCode::FAILURE);
    }
    println!("shrinking ...");
    let (plan, outcome) = shrink(&plan, outcome)?;
    println!("{}", describe(&plan));
    println!(
        "cargo run --release -p simulation -- {} --story",
        plan.arguments()
    );
    Ok(verdict(&outcome))
}
