//! `cargo run --release -p simulation --bin mutants`: proves that the proof looks.
//!
//! Each mutant is a wrong variant of sync-core: a file in `tests/simulation/mutants`, with a sentence and
//! the text to replace. It is built in a copy of the workspace, never in the shipped code. The simulation
//! has to break a promise on it, or sync-core's own tests have to fail; a mutant that lives is a promise
//! nobody checks. The kill table goes into `docs/proof.md`.

mod child;
mod mutant;
mod table;
mod workspace;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;

use crate::child::Ended;
use crate::mutant::Mutant;
use crate::workspace::Workspace;

/// Builds each mutant of sync-core and expects the simulation, or its tests, to fail.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds a mutant has to survive to live.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Business changes per seed.
    #[arg(long, default_value_t = 40)]
    notifications: u32,
    /// Only these mutants; the table is not written then.
    names: Vec<String>,
}

/// How a mutant ended.
pub(crate) struct Verdict {
    /// What killed it, as a cell of the table; `None` when it lives.
    pub(crate) killed_by: Option<String>,
    /// Build and search together.
    pub(crate) took: Duration,
}

/// The longest a build or a search may take. Generous: on a busy machine what is cut short here would
/// count as killed.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest sync-core's tests may take, with their build: a wrong variant may well hang one.
const LONGEST_TESTS: Duration = Duration::from_secs(900);

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root
        .canonicalize()
        .context("the workspace cannot be found")?;
    let mut mutants = Mutant::read_all(&root.join("tests/simulation/mutants"))?;
    if !arguments.names.is_empty() {
        mutants.retain(|m| arguments.names.contains(&m.name));
    }
    let workspace = Workspace::copy(&root)?;
    println!("building the unchanged code ...");
    let alive = judge(&workspace, &arguments)?;
    let unfounded = alive.killed_by.unwrap_or_default();
    ensure!(
        unfounded.is_empty(),
        "the unchanged code is killed too, by {unfounded}"
    );
    println!("unchanged: passes in {:.1} s", alive.took.as_secs_f64());
    let mut verdicts = Vec::new();
    for mutant in &mutants {
        workspace.apply(mutant)?;
        let verdict = judge(&workspace, &arguments);
        workspace.restore(mutant)?;
        let verdict = verdict.with_context(|| format!("mutant {}", mutant.name))?;
        let how = verdict.killed_by.as_deref().unwrap_or("LIVES");
        println!(
            "{:<44} {:>5.1} s  {how}",
            mutant.name,
            verdict.took.as_secs_f64()
        );
        verdicts.push(verdict);
    }
    let living = verdicts.iter().filter(|v| v.killed_by.is_none()).count();
    println!("{} mutants, {living} live", verdicts.len());
    if arguments.names.is_empty() {
        table::write(&root.join("docs/proof.md"), &mutants, &verdicts)?;
    }
    Ok(if living == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds what is there and searches for a broken promise; if there is none, runs sync-core's tests.
fn judge(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let began = Instant::now();
    let verdict = |killed_by| Verdict {
        killed_by,
        took: began.elapsed(),
    };
    let built = workspace.cargo(
        &["build", "-p", "simulation", "--bin", "simulation"],
        LONGEST,
    )?;
    ensure!(built.succeeded(), "does not build:\n{}", built.tail());
    let (seeds, notifications) = (
        arguments.seeds.to_string(),
        arguments.notifications.to_string(),
    );
    let search = [
        "--seeds",
        &seeds,
        "--notifications",
        &notifications,
        "--no-shrink",
    ];
    match workspace.simulation(&search, LONGEST)? {
        Ended::TimedOut => return Ok(verdict(Some("simulation: never ends".into()))),
        ended if !ended.succeeded() => return Ok(verdict(Some(table::broken(&ended)))),
        _ => {}
    }
    let tests = workspace.cargo(
        &["test", "-p", "sync-core", "--no-fail-fast"],
        LONGEST_TESTS,
    )?;
    if matches!(tests, Ended::TimedOut) {
        return Ok(verdict(Some("sync-core's tests: never end".into())));
    }
    if tests.succeeded() {
        return Ok(verdict(None));
    }
    Ok(verdict(Some(table::failed(&tests))))
}
