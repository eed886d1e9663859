//! `dvsync check`: what would keep a package from running, or from doing what was meant, found before
//! anything is deployed, all of it at once.
//!
//! With `--live`, `live` checks what is outside the apps instead, by asking and trying.
//!
//! `package` reads what there is; `files`, `functions`, `host`, `settings` and `secrets` each judge a part
//! of it, `metadata` the sync files against a Dataverse environment; `show` prints what they found.

mod duration;
mod files;
mod finding;
mod functions;
mod host;
mod live;
mod metadata;
mod near;
mod package;
mod schedule;
mod secrets;
mod settings;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use sync_core::config::SyncConfig;

use crate::out;
use files::SyncFile;
use finding::Report;
use metadata::Environment;
use package::Package;

const HOW_TO_SAVE: &str = r#"To save the definitions of account and contact for --metadata, one curl:

  TOKEN=$(az account get-access-token --resource $DATAVERSE_URL --query accessToken -o tsv)
  CRM=Microsoft.Dynamics.CRM
  OPTIONS='AttributeMetadata?$select=LogicalName%2CEntityLogicalName&$expand=OptionSet($select=Options)'
  curl -fsS -H "Authorization: Bearer $TOKEN" "$DATAVERSE_URL/api/data/v9.2/EntityDefinitions(LogicalName='{account,contact}'){?\$select=LogicalName%2CEntitySetName%2CPrimaryIdAttribute,/Attributes,/ManyToOneRelationships,/Attributes/$CRM.Picklist$OPTIONS,/Attributes/$CRM.MultiSelectPicklist$OPTIONS,/Attributes/$CRM.State$OPTIONS,/Attributes/$CRM.Status$OPTIONS}" > metadata.json

`dvsync emulate dataverse` serves the same."#;

/// Options of `dvsync check`.
#[derive(Debug, Args)]
#[command(after_long_help = HOW_TO_SAVE)]
pub(crate) struct Options {
    /// A packaged app, or the folder that host.json, the sync files and the apps' folders are in.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Check only this sync file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "settings"])]
    config: Option<PathBuf>,
    /// App settings: a local.settings.json, or what `az functionapp config appsettings list` prints.
    /// Without it local.settings.json or local.settings.json.example in the folder.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Check the mapping against a Dataverse environment: a file of its tables' definitions (--help says how
    /// to save it), or its address, which is asked with the app's identity or yours (`az login`).
    #[arg(long, value_name = "FILE|URL")]
    metadata: Option<String>,
    /// Check what is outside the apps: identities, Service Bus, Dataverse, Key Vault, target, telemetry, with
    /// the settings that the apps read, from the environment or from --settings. Changes nothing, and takes
    /// no message; safe beside running apps. Rights are those of whoever runs it.
    #[arg(long, conflicts_with_all = ["config", "metadata", "schedule"])]
    live: bool,
    /// Print the exact retry schedule of each table.
    #[arg(long)]
    schedule: bool,
    /// Print the findings, and the schedule, as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks, and prints what was found and what was asked for.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.live {
        return live::run(&options.dir, options.settings.as_deref(), options.json).await;
    }
    let mut report = Report::default();
    let (files, what) = match &options.config {
        Some(path) => (one(path, &mut report), path.display().to_string()),
        None => whole(options, &mut report)?,
    };
    if let Some(from) = &options.metadata {
        match Environment::read(from, &files).await {
            Ok(environment) => {
                for file in &files {
                    metadata::judge(file, &environment, &mut report);
                }
            }
            // Without a sync file that can be used nothing was asked for.
            Err(_) if files.is_empty() => {}
            Err(error) => report.add(
                from,
                "",
                format!("cannot be used: {error:#}"),
                "give an environment's address, or a file that was saved as --help says",
            ),
        }
    }
    let findings = report.finish();
    let code = if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if options.json {
        let tables = files.first().map(|file| schedule::as_json(&file.config));
        let all = json!({"usable": findings.is_empty(), "findings": findings, "tables": tables});
        out::line(all);
        return Ok(code);
    }
    if !findings.is_empty() {
        show::findings(&findings);
        return Ok(code);
    }
    out::line(format_args!("{what} is usable:"));
    for file in &files {
        out::line(format_args!(
            "  {}: {} tables to {}",
            file.name,
            file.config.tables.len(),
            file.config.target_system
        ));
    }
    if options.schedule {
        for file in &files {
            if files.len() > 1 {
                out::line(format_args!("\n== {} ==", file.name));
            }
            schedule::print(&file.config);
        }
    }
    Ok(code)
}

/// Judges a folder that is about to be packed, with these settings on top of the file's; says what it
/// finds, and whether that is nothing.
pub(crate) fn package(
    root: &Path,
    settings: Option<&Path>,
    own: &BTreeMap<&'static str, Option<String>>,
) -> anyhow::Result<bool> {
    let mut report = Report::default();
    let mut package = Package::read(root, settings, &mut report);
    if let Some(settings) = &mut package.settings {
        for (name, value) in own {
            match value {
                Some(value) => settings.values.insert((*name).to_owned(), value.clone()),
                None => settings.values.remove(*name),
            };
        }
    }
    judge(&package, &mut report);
    let findings = report.finish();
    if !findings.is_empty() {
        show::findings(&findings);
    }
    Ok(findings.is_empty())
}

fn one(path: &Path, report: &mut Report) -> Vec<SyncFile> {
    let name = path.display().to_string();
    match SyncConfig::load(path) {
        Ok(config) => {
            let config = Arc::new(config);
            vec![SyncFile { name, config }]
        }
        Err(error) => {
            report.config(&name, error);
            Vec::new()
        }
    }
}

fn whole(options: &Options, report: &mut Report) -> anyhow::Result<(Vec<SyncFile>, String)> {
    let root = &options.dir;
    if !root.is_dir() {
        bail!("{} is no folder", root.display());
    }
    let package = Package::read(root, options.settings.as_deref(), report);
    let files = judge(&package, report);
    Ok((files, root.display().to_string()))
}

fn judge(package: &Package, report: &mut Report) -> Vec<SyncFile> {
    let files = files::check(package, report);
    functions::check(package, report);
    let (deadline, from) = settings::deadline(package);
    if let Some(host) = host::check(package, report) {
        host::deadline(&host, deadline, from, report);
    }
    settings::check(package, report);
    for file in &files {
        files::sense(file, deadline, report);
    }
    secrets::check(package, &package.sync_files(), report);
    files
}
