//! All that `dvsync local` and both apps print in a run full of faults, and the report: no row's values but
//! the names that `dvsync` shows on purpose, no token.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use tempfile::TempDir;

#[test]
fn a_run_full_of_faults_prints_no_value_of_a_row_and_no_token() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_dvsync"))
        .args(["local", "--changes", "120", "--rows", "12", "--seed", "4"])
        .args([
            "--faults",
            "heavy",
            "--logs",
            "--exit-when-drained",
            "--report",
        ])
        .arg(&report)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}\n{complained}");
    assert!(
        printed.contains("\"level\":\"INFO\""),
        "no log lines: {printed}"
    );
    let report = std::fs::read_to_string(report).unwrap();
    for text in [printed, complained, report] {
        for line in text.lines() {
            assert!(!betrays(line), "{line}");
        }
    }
}

/// Whether the line holds what the workload writes into rows, an address of a sample row, or a token.
fn betrays(line: &str) -> bool {
    let numbered = |word: &str| {
        let mut rests = line
            .match_indices(word)
            .map(|(at, _)| &line[at + word.len()..]);
        rests.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    numbered("City ") || numbered("Level ") || line.contains("@example.com") || line.contains("eyJ")
}

#[test]
fn what_the_workload_writes_is_recognised() {
    assert!(
        betrays("{\"city\":\"City 4711\"}")
            && betrays("mail a@example.com")
            && betrays("Bearer eyJ0")
    );
    assert!(!betrays("City Power & Light (sample) delivered"));
}
