//! Whether the tables are as the sync files have them.

use super::{Caller, DATAVERSE};
use crate::check::finding::{Finding, Report};
use crate::check::live::line::Line;
use crate::check::live::parts::Parts;
use crate::check::metadata::{self, Environment};

/// Judges the sync files; also gives what the environment says of its tables.
pub(super) async fn check(parts: &Parts, caller: &Caller) -> (Vec<Line>, Option<Environment>) {
    const CHECK: &str = "tables";
    let environment = match Environment::ask(&caller.environment, &parts.files).await {
        Ok(environment) => environment,
        Err(error) => {
            let why = format!("their definitions are not told: {error:#}");
            return (vec![DATAVERSE.not_checked(CHECK, why)], None);
        }
    };
    let mut report = Report::default();
    for file in &parts.files {
        metadata::judge(file, &environment, &mut report);
    }
    let findings = report.finish();
    let lines = if findings.is_empty() {
        let names: Vec<&str> = parts.files.iter().map(|file| file.name.as_str()).collect();
        vec![DATAVERSE.ok(CHECK, format!("fit {}", names.join(", ")))]
    } else {
        let lines = findings.into_iter();
        lines
            .map(|finding| line(parts, &environment, finding))
            .collect()
    };
    (lines, Some(environment))
}

fn line(parts: &Parts, environment: &Environment, finding: Finding) -> Line {
    let code = code(parts, environment, &finding);
    let check = format!("{} {}", finding.file, finding.path);
    let fix = finding
        .fix
        .unwrap_or_else(|| "correct the sync file".to_owned());
    DATAVERSE.wrong(check, code, finding.problem, fix)
}

fn code(parts: &Parts, environment: &Environment, finding: &Finding) -> &'static str {
    let steps: Vec<&str> = finding.path.split('.').collect();
    match steps.as_slice() {
        ["tables", _] => "TableMissing",
        ["tables", _, "entitySet" | "primaryKey"] => "TableNames",
        ["tables", table, "acknowledgement", key] => {
            let mut files = parts.files.iter();
            let file = files.find(|file| file.name == finding.file);
            let table_config = file.and_then(|file| file.config.tables.get(*table));
            let named = table_config.map(|config| config.ack.named());
            let column = named.and_then(|named| named.into_iter().find(|(known, _)| known == key));
            match column {
                Some((_, column)) if !environment.has(table, column) => "AckColumnMissing",
                _ => "AckColumnUnfit",
            }
        }
        _ => "ColumnUnfit",
    }
}
