//! Whether the registered Update steps announce what the mappings read, and nothing that acknowledgements
//! write.
//!
//! A step is taken for the sync's when it lists a column that a mapping reads. Contract: table
//! `sdkmessageprocessingstep`, column `filteringattributes` (Power Apps docs, table reference).

use std::collections::BTreeSet;

use sync_core::config::{Field, Reads, TableConfig};

use super::{Caller, DATAVERSE, said};
use crate::check::live::line::Line;
use crate::check::live::parts::Parts;
use crate::check::metadata::Environment;

/// An Update step that runs for certain columns only.
struct Step {
    name: String,
    columns: BTreeSet<String>,
}

pub(super) async fn check(parts: &Parts, caller: &Caller, environment: &Environment) -> Vec<Line> {
    let names: BTreeSet<&str> = parts
        .files
        .iter()
        .flat_map(|file| file.config.tables.keys().map(String::as_str))
        .collect();
    let mut lines = Vec::new();
    for name in names {
        let steps = match steps(caller, name).await {
            Ok(steps) => steps,
            Err(line) => {
                lines.push(*line);
                break;
            }
        };
        let tables = parts.files.iter();
        let tables: Vec<&TableConfig> = tables
            .filter_map(|file| file.config.tables.get(name).map(AsRef::as_ref))
            .collect();
        lines.extend(judge(name, &tables, &steps, environment));
    }
    lines
}

async fn steps(caller: &Caller, table: &str) -> Result<Vec<Step>, Box<Line>> {
    let check = format!("{table}: plug-in steps");
    let path = format!(
        "sdkmessageprocessingsteps?$select=name,filteringattributes&$filter=statecode eq 0 and sdkmessageid/name eq 'Update' and sdkmessagefilterid/primaryobjecttypecode eq '{table}'"
    );
    let answer = match caller.environment.ask(&path).await {
        Ok(answer) => answer,
        Err(error) => return Err(Box::new(super::PEER.lost(check, &error))),
    };
    let json = answer.json();
    let Some(rows) = json["value"].as_array().filter(|_| answer.status == 200) else {
        let why = format!(
            "{} may not read the registered steps: {}; run the check as an administrator",
            caller.label,
            said(&json)
        );
        return Err(Box::new(DATAVERSE.not_checked("plug-in steps", why)));
    };
    let step = |row: &serde_json::Value| {
        let columns = row["filteringattributes"].as_str()?;
        Some(Step {
            name: row["name"].as_str().unwrap_or_default().to_owned(),
            columns: columns
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect(),
        })
    };
    Ok(rows.iter().filter_map(step).collect())
}

fn judge(
    name: &str,
    tables: &[&TableConfig],
    steps: &[Step],
    environment: &Environment,
) -> Vec<Line> {
    let check = format!("{name}: plug-in steps");
    // What nobody can update does not change.
    let mapped: BTreeSet<&str> = tables
        .iter()
        .flat_map(|table| mapped(table))
        .filter(|column| environment.may_write(name, column))
        .collect();
    let acknowledged: BTreeSet<&str> = tables.iter().flat_map(|table| table.ack.all()).collect();
    let ours = steps.iter();
    let ours: Vec<&Step> = ours
        .filter(|step| mapped.iter().any(|column| step.columns.contains(*column)))
        .collect();
    if ours.is_empty() {
        return vec![DATAVERSE.wrong(
            check,
            "NoStep",
            "no enabled Update step lists a column that the mapping reads: changes are not announced",
            format!("register the sync's steps on {name} (import its solution), with filtering attributes"),
        )];
    }
    let mut lines = Vec::new();
    for step in &ours {
        let own = step.columns.iter();
        let own: Vec<&str> = own
            .map(String::as_str)
            .filter(|column| acknowledged.contains(column))
            .collect();
        if !own.is_empty() {
            lines.push(DATAVERSE.wrong(
                check.clone(),
                "StepFiresOnAck",
                format!("step {:?} runs for {}, which acknowledgements write: each would cause another notification", step.name, own.join(", ")),
                format!("take {} out of the step's filtering attributes", own.join(", ")),
            ));
        }
    }
    let unseen: Vec<&str> = mapped
        .iter()
        .copied()
        .filter(|column| !ours.iter().any(|step| step.columns.contains(*column)))
        .collect();
    if !unseen.is_empty() {
        lines.push(DATAVERSE.wrong(
            check.clone(),
            "StepMissesColumn",
            format!(
                "the mapping reads {}, whose changes no step announces",
                unseen.join(", ")
            ),
            "add them to the filtering attributes of the sync's Update step",
        ));
    }
    if lines.is_empty() {
        let names: Vec<&str> = ours.iter().map(|step| step.name.as_str()).collect();
        lines.push(DATAVERSE.ok(
            check,
            format!("{} announce what is mapped", names.join(", ")),
        ));
    }
    lines
}

/// The table's own columns that a mapping reads, by logical name.
fn mapped(table: &TableConfig) -> impl Iterator<Item = &str> {
    let columns = table.fields.values().flat_map(Field::columns);
    columns.filter_map(|column| match column.reads() {
        Reads::Own(name) => {
            let lookup = name
                .strip_prefix('_')
                .and_then(|name| name.strip_suffix("_value"));
            Some(lookup.unwrap_or(name))
        }
        Reads::Related { .. } => None,
    })
}
