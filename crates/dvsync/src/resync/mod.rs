//! `dvsync resync`: notifications for rows that nothing announced.
//!
//! `parts` reads the app's settings, `rows` reads rows from Dataverse page by page, `post` puts
//! notifications on the outbound queue. What is sent is then up to the apps: the row as it is when its
//! notification is taken. Which rows differ from what was acknowledged is `sync_core::reconcile`.

mod parts;
mod post;
mod rows;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{ArgGroup, Args};
use serde_json::json;
use sync_core::reconcile::{Standing, standing};
use sync_core::snapshot::RowKey;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::look::Look;
use crate::moment::moment;
use crate::out;
use parts::Parts;
use post::Poster;
use rows::Rows;

const EXAMPLES: &str = "\
What did the target miss, if anything? Nothing is sent:
  dvsync resync --table account --different --dry-run --settings settings.json
A new column is mapped: send the rows that it makes a difference for, slowly:
  dvsync resync --table account --different --rate 10 --settings settings.json
One customer, now:
  dvsync resync --table account --row 5011e6fc-5e5e-56b4-8e0d-335f86417086 --settings settings.json

settings.json is what `az functionapp config appsettings list` prints for an outbound-fn, or what
`dvsync local --settings-file` writes. You need to read the table in Dataverse, and the role Azure Service Bus
Data Sender; sign in with `az login`.";

/// Options of `dvsync resync`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, group(ArgGroup::new("which").required(true).multiple(true).args(["all", "different", "row", "since", "filter"])))]
pub(crate) struct Options {
    /// The table's logical name, e.g. account; several times for several.
    #[arg(long, required = true)]
    table: Vec<String>,
    /// Every row.
    #[arg(long, conflicts_with_all = ["different", "row", "since", "filter"])]
    all: bool,
    /// Rows that are not in the target as the mapping would send them now, going by the payload's hash that
    /// was acknowledged to the row. Each row is read; none is sent that is fine, or that the mapping refuses
    /// and that says so already.
    #[arg(long)]
    different: bool,
    /// That row, of the one table; several times for several.
    #[arg(long, value_name = "GUID", conflicts_with_all = ["since", "filter"])]
    row: Vec<Uuid>,
    /// Rows modified then or later: 2026-03-02T09:15:00Z, or 90m, 12h, 3d ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<OffsetDateTime>,
    /// Rows that an OData filter lets through, e.g. "statecode eq 0".
    #[arg(long, value_name = "ODATA")]
    filter: Option<String>,
    /// So many notifications a second at most.
    #[arg(long, default_value = "20")]
    rate: NonZeroU32,
    /// So many in all at most: try a few first.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Count only, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// The folder that the sync files are in.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// App settings of an outbound-fn: a local.settings.json, or what `az functionapp config appsettings list`
    /// prints. Without it local.settings.json in the folder, or the environment.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The target, if the settings name the sync files of several.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found in a table, and done.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    standings: BTreeMap<Standing, u64>,
    sent: u64,
    /// Rows that were asked for by id and are not there.
    missing: Vec<Uuid>,
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !options.row.is_empty() && options.table.len() > 1 {
        bail!("--row takes one --table: the one that the row is in");
    }
    crate::app_settings::into_environment(&options.dir, options.settings.as_deref())?;
    let parts = Parts::read(&options.dir, options.target.as_deref()).await?;
    for table in &options.table {
        if !parts.config.tables.contains_key(table) {
            let known: Vec<_> = parts.config.tables.keys().map(String::as_str).collect();
            let target = &parts.config.target_system;
            bail!(
                "the sync file of {target} has no table {table}; it has {}",
                known.join(", ")
            );
        }
    }
    let mut poster = Poster::new(&parts, options.rate);
    let mut tables = Vec::new();
    let mut all_there = true;
    for name in &options.table {
        let ended = one(options, &parts, &mut poster, name).await;
        let tally = match ended {
            Ok(tally) => tally,
            Err(error) => {
                let sent = poster.sent();
                return Err(error.context(format!(
                    "broken off after {sent} notifications; run it again: a row twice does no harm, and --different leaves out what has arrived"
                )));
            }
        };
        all_there &= tally.missing.is_empty();
        if options.json {
            tables.push(as_json(name, &tally));
        } else {
            show(name, &tally, options.dry_run);
        }
    }
    parts.bus.close().await;
    if options.json {
        let sent = poster.sent();
        out::line(json!({ "id": poster.id(), "sent": sent, "tables": tables }));
    }
    Ok(if all_there {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn one(
    options: &Options,
    parts: &Parts,
    poster: &mut Poster<'_>,
    name: &str,
) -> anyhow::Result<Tally> {
    let table = &parts.config.tables[name];
    let mut tally = Tally::default();
    let mut rows = Rows::of(&parts.dataverse, table, options);
    let mut met = Vec::new();
    while let Some(page) = rows.next_page().await? {
        let mut keys = Vec::new();
        for row in page {
            let id = rows::id(table, &row)?;
            met.push(id);
            tally.rows += 1;
            let standing = standing(table, &row);
            *tally.standings.entry(standing).or_default() += 1;
            let tells = standing != Standing::NotMapped || parts.config.acknowledge_rejections;
            if !options.different || (standing.is_due() && tells) {
                keys.push(RowKey {
                    table: name.to_owned(),
                    id,
                });
            }
        }
        if let Some(limit) = options.limit {
            let left = limit.saturating_sub(poster.sent());
            keys.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if !options.dry_run {
            tally.sent += poster.post(keys).await?;
        }
        if options.limit.is_some_and(|limit| poster.sent() >= limit) {
            // What was not read is not missed.
            return Ok(tally);
        }
        progress(options, name, &tally);
        if options.row.is_empty() {
            // Only rows that were asked for by id are missed.
            met.clear();
        }
    }
    let is_missing = |id: &&Uuid| !met.contains(id);
    tally.missing = options.row.iter().filter(is_missing).copied().collect();
    Ok(tally)
}

/// A line that grows, on a terminal.
fn progress(options: &Options, name: &str, tally: &Tally) {
    if !options.json && std::io::stdout().is_terminal() {
        let (rows, sent) = (tally.rows, tally.sent);
        out::part(format_args!("\r\x1b[2K{name}: {}, {sent} sent", read(rows)));
    }
}

fn read(rows: u64) -> String {
    match rows {
        1 => "1 row read".to_owned(),
        rows => format!("{rows} rows read"),
    }
}

fn as_json(name: &str, tally: &Tally) -> serde_json::Value {
    let standings = tally.standings.iter();
    let standings: serde_json::Map<_, _> = standings
        .map(|(standing, rows)| (standing.as_str().to_owned(), json!(rows)))
        .collect();
    json!({ "table": name, "rows": tally.rows, "standings": standings, "sent": tally.sent, "missing": tally.missing })
}

fn show(name: &str, tally: &Tally, dry_run: bool) {
    let Look { head, grey, .. } = Look::new();
    let sent = if dry_run {
        "nothing sent (--dry-run)".to_owned()
    } else {
        format!("{} sent", tally.sent)
    };
    out::line(format_args!(
        "{head}{name}{head:#}: {}, {sent}",
        read(tally.rows)
    ));
    for (standing, rows) in &tally.standings {
        out::line(format_args!("{rows:>9}  {}", standing.as_str()));
    }
    if tally.standings.contains_key(&Standing::NotMapped)
        || tally.standings.contains_key(&Standing::Refused)
    {
        out::line(format_args!(
            "           {grey}`dvsync preview --table {name} --id GUID` says why a row is not mapped{grey:#}"
        ));
    }
    for id in &tally.missing {
        out::line(format_args!(
            "           {grey}{name}:{id} is not there: deleted, or not to be read by you{grey:#}"
        ));
    }
}
