//! Findings as text, for people.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

use super::finding::Finding;
use crate::out;

/// How things look; plain where nobody would see colours.
struct Look {
    key: Style,
    bad: Style,
    good: Style,
}

impl Look {
    fn new() -> Self {
        let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        if !coloured {
            let plain = Style::new();
            return Self {
                key: plain,
                bad: plain,
                good: plain,
            };
        }
        Self {
            key: Style::new().bold(),
            bad: AnsiColor::Red.on_default(),
            good: AnsiColor::Green.on_default(),
        }
    }
}

/// Prints them, file by file.
pub(super) fn findings(findings: &[Finding]) {
    let Look { key, bad, good } = Look::new();
    let mut file = None;
    for finding in findings {
        if file != Some(&finding.file) {
            if file.is_some() {
                out::line("");
            }
            let name = if finding.file.is_empty() {
                "the folder"
            } else {
                &finding.file
            };
            out::line(format_args!("{key}{name}{key:#}"));
            file = Some(&finding.file);
        }
        let space = if finding.path.is_empty() { "" } else { " " };
        out::line(format_args!(
            "  {bad}{}{bad:#}{space}{}",
            finding.path, finding.problem
        ));
        if let Some(fix) = &finding.fix {
            out::line(format_args!("      {good}fix:{good:#} {fix}"));
        }
    }
    let s = if findings.len() == 1 { "" } else { "s" };
    out::line(format_args!("\n{} finding{s}", findings.len()));
}
