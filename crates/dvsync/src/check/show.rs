//! Findings as text, for people.

use super::finding::Finding;
use crate::look::Look;
use crate::out;

/// Prints them, file by file.
pub(super) fn findings(findings: &[Finding]) {
    let Look {
        head, bad, good, ..
    } = Look::new();
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
            out::line(format_args!("{head}{name}{head:#}"));
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
