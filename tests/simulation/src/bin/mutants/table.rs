//! The kill table in `docs/proof.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::Verdict;
use crate::child::Ended;
use crate::mutant::Mutant;

const BEGIN: &str =
    "<!-- kill table: written by `cargo run --release -p simulation --bin mutants` -->";
const END: &str = "<!-- end of the kill table -->";

/// Which promise the simulation found broken, and at which seed.
pub(crate) fn broken(ended: &Ended) -> String {
    // "seed 17 broke I2 row 3: ..."
    let found = ended.output().lines().find_map(|line| {
        let (seed, promise) = line.strip_prefix("seed ")?.split_once(" broke ")?;
        let promise: String = promise
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        Some(format!("simulation: {promise}, seed {seed}"))
    });
    found.unwrap_or_else(|| "simulation: stops".into())
}

/// Which of sync-core's tests failed.
pub(crate) fn failed(ended: &Ended) -> String {
    let lines = ended.output().lines();
    let failed = lines.filter_map(|l| l.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let failed: Vec<_> = failed.collect();
    match failed.as_slice() {
        [] => "sync-core's tests: stop".into(),
        [one] => format!("test `{one}`"),
        [one, rest @ ..] => format!("test `{one}` and {} more", rest.len()),
    }
}

/// Replaces the table between its two markers, or appends it.
pub(crate) fn write(path: &Path, mutants: &[Mutant], verdicts: &[Verdict]) -> anyhow::Result<()> {
    let mut table = format!("{BEGIN}\n\n| wrong variant | killed by | seconds |\n|---|---|---|\n");
    for (mutant, verdict) in mutants.iter().zip(verdicts) {
        let how = verdict.killed_by.as_deref().unwrap_or("**lives**");
        let seconds = verdict.took.as_secs_f64();
        writeln!(table, "| {} | {how} | {seconds:.0} |", mutant.sentence)?;
    }
    write!(table, "\n{END}")?;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let text = match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{table}{}", &text[..begin], &text[end + END.len()..])
        }
        _ => format!("{text}\n{table}\n"),
    };
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
