//! `dvsync preview`: the requests that a row would be sent by, before anything is sent.
//!
//! `row` gets the row, `overhear` the requests, `redact` takes out what may not be seen. Nothing is sent
//! to the target, and no secret is fetched.

mod overhear;
mod redact;
mod row;

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value};
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::mapping::{self, Payload};
use sync_core::ports::{Change, Delivery};
use sync_core::settings::environment;
use sync_core::snapshot::{RowKey, RowVersion};
use url::Url;
use uuid::Uuid;

use crate::out;
use overhear::Request;
use row::Row;

/// Options of `dvsync preview`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The table's logical name, e.g. account.
    #[arg(long)]
    table: String,
    /// The row's id.
    #[arg(long, required_unless_present = "row")]
    id: Option<Uuid>,
    /// A row as the Web API answered it, instead of reading one.
    #[arg(long, value_name = "FILE")]
    row: Option<PathBuf>,
    /// The Dataverse environment to read the row from; without it the setting DATAVERSE_URL.
    #[arg(long, value_name = "URL", conflicts_with = "row")]
    dataverse: Option<String>,
    /// The sync file.
    #[arg(long, default_value = "sync.json", value_name = "FILE")]
    config: PathBuf,
    /// The target's address; without it the setting TARGET_URL.
    #[arg(long, value_name = "URL")]
    target: Option<Url>,
    /// Compare: without a value with what was last acknowledged (by its hash), or with what another sync
    /// file makes of the row, field by field.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "acknowledged")]
    diff: Option<String>,
    /// Show the values of columns that logColumns does not list, too; only on a terminal.
    #[arg(long)]
    show_values: bool,
    /// Show them also where a file or another program reads along.
    #[arg(long, requires = "show_values")]
    force: bool,
}

/// Prints the requests, or the difference.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.show_values && !options.force && !std::io::stdout().is_terminal() {
        bail!(
            "--show-values shows what is in the row, and this is no terminal; add --force to have it written"
        );
    }
    let config = SyncConfig::load(&options.config)?;
    let table = table_of(
        &config,
        &options.config.display().to_string(),
        &options.table,
    )?;
    let other = match options.diff.as_deref() {
        None | Some("acknowledged") => None,
        Some(file) => Some((file, SyncConfig::load(file.as_ref())?)),
    };
    let other_table = other
        .as_ref()
        .map(|(file, config)| table_of(config, file, &options.table))
        .transpose()?;
    let row = match &options.row {
        Some(path) => row::from_file(path, table, options.id)?,
        None => {
            let set = || environment("DATAVERSE_URL");
            let address = options.dataverse.clone().or_else(set);
            let address = address.context("where is the row? --dataverse URL, or --row FILE")?;
            let id = options.id.context("--id is needed")?;
            let others: Vec<_> = other_table.into_iter().collect();
            row::from_dataverse(&address, table, &others, id).await?
        }
    };
    let text = match (&options.diff, &other, other_table) {
        (None, ..) => previewed(options, &config, table, &row).await?,
        (Some(_), Some((file, other)), Some(other_table)) => {
            let ours = request_line(options, &config, table, &row).await?;
            let theirs = request_line(options, other, other_table, &row).await?;
            let show = options.show_values;
            fields_compared(table, other_table, file, &row, (&ours, &theirs), show)?
        }
        (Some(_), ..) => hash_compared(table, &row)?,
    };
    out::part(text);
    Ok(ExitCode::SUCCESS)
}

fn table_of<'a>(config: &'a SyncConfig, file: &str, name: &str) -> anyhow::Result<&'a TableConfig> {
    let table = config.tables.get(name).map(AsRef::as_ref);
    table.with_context(|| {
        let known: Vec<_> = config.tables.keys().map(String::as_str).collect();
        format!("{file} has no table {name}; it has {}", known.join(", "))
    })
}

/// A failure says no values.
fn mapped(table: &TableConfig, row: &Row) -> anyhow::Result<Payload> {
    mapping::required(table, &row.columns)
        .and_then(|()| mapping::map(table, &row.columns))
        .map_err(|failure| anyhow::anyhow!("nothing would be sent: {}", failure.message))
}

async fn requests(
    options: &Options,
    config: &SyncConfig,
    table: &TableConfig,
    row: &Row,
    payload: Payload,
) -> anyhow::Result<Vec<Request>> {
    let set = || environment("TARGET_URL").and_then(|text| text.parse().ok());
    let base = options.target.clone().or_else(set);
    let base = base.context("where is the target? --target URL, or the setting TARGET_URL")?;
    let secret = environment("TARGET_SECRET_NAME").unwrap_or_else(|| "TARGET_SECRET_NAME".into());
    let version = row.columns.get("versionnumber").and_then(Value::as_i64);
    let delivery = Delivery {
        row: RowKey {
            table: table.name.clone(),
            id: row.id,
        },
        version: version.map(RowVersion),
        correlation_id: "<correlation id of the change>".into(),
        attempt: Uuid::nil(),
        change: Change::Upsert(payload),
    };
    overhear::requests(&base, &secret, config, table, &delivery).await
}

async fn request_line(
    options: &Options,
    config: &SyncConfig,
    table: &TableConfig,
    row: &Row,
) -> anyhow::Result<String> {
    let payload = mapped(table, row)?;
    let requests = requests(options, config, table, row, payload).await?;
    let lines = requests.iter().map(|r| format!("{} {}", r.method, r.url));
    Ok(lines.collect::<Vec<_>>().join(", then "))
}

async fn previewed(
    options: &Options,
    config: &SyncConfig,
    table: &TableConfig,
    row: &Row,
) -> anyhow::Result<String> {
    let payload = mapped(table, row)?;
    let mut text = String::new();
    for request in requests(options, config, table, row, payload.clone()).await? {
        write(&mut text, &request, table, options.show_values)?;
    }
    writeln!(text, "payload hash: {}", payload.hash)?;
    Ok(text)
}

fn write(
    text: &mut String,
    request: &Request,
    table: &TableConfig,
    show: bool,
) -> anyhow::Result<()> {
    writeln!(text, "{} {}", request.method, request.url)?;
    let attempt = Uuid::nil().simple().to_string();
    for (name, value) in &request.headers {
        writeln!(text, "{name}: {}", value.replace(&attempt, "<attempt>"))?;
    }
    if !request.body.is_empty() {
        let body: Map<String, Value> = serde_json::from_slice(&request.body)?;
        let body = redact::body(table, &body, show);
        writeln!(text, "\n{}", serde_json::to_string_pretty(&body)?)?;
    }
    writeln!(text)?;
    Ok(())
}

fn hash_compared(table: &TableConfig, row: &Row) -> anyhow::Result<String> {
    let column = &table.ack.payload_hash;
    let payload = mapped(table, row)?;
    let known = row.columns.get(column);
    let acknowledged = known.with_context(|| format!("the row does not say what {column} is"))?;
    let verdict = match acknowledged.as_str() {
        None => "nothing was acknowledged yet: all of it is new".to_owned(),
        Some(hash) if hash == payload.hash => "the same as was last acknowledged".to_owned(),
        Some(hash) => format!("different from what was last acknowledged ({column}: {hash})"),
    };
    Ok(format!("payload hash: {}\n{verdict}\n", payload.hash))
}

fn fields_compared(
    ours: &TableConfig,
    theirs: &TableConfig,
    file: &str,
    row: &Row,
    lines: (&str, &str),
    show: bool,
) -> anyhow::Result<String> {
    let (here, there) = (mapped(ours, row)?, mapped(theirs, row)?);
    let seen_here = redact::flat(&redact::body(ours, &here.body, show));
    let seen_there = redact::flat(&redact::body(theirs, &there.body, show));
    let (here_all, there_all) = (redact::flat(&here.body), redact::flat(&there.body));
    let mut text = format!("with {file}:\n");
    let mut same = 0;
    if lines.0 == lines.1 {
        writeln!(text, "  {}", lines.0)?;
    } else {
        writeln!(text, "- {}\n+ {}", lines.0, lines.1)?;
    }
    let nothing = Value::Null;
    let mut paths: Vec<&String> = here_all.keys().chain(there_all.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let seen = |all: &std::collections::BTreeMap<String, Value>| {
            all.get(path).unwrap_or(&nothing).to_string()
        };
        match (here_all.get(path), there_all.get(path)) {
            (Some(a), Some(b)) if a == b => same += 1,
            (Some(_), Some(_)) => writeln!(
                text,
                "~ {path}: {} -> {}",
                seen(&seen_here),
                seen(&seen_there)
            )?,
            (Some(_), None) => writeln!(text, "- {path}: {}", seen(&seen_here))?,
            (None, _) => writeln!(text, "+ {path}: {}", seen(&seen_there))?,
        }
    }
    writeln!(text, "{same} values are the same")?;
    Ok(text)
}
