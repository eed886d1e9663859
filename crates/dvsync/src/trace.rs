//! `dvsync trace`: the story of one change, from the telemetry of a local run or from a file of it.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use local_stack::insights::story::{self, Paint};
use local_stack::insights::{Item, Wanted, kql};
use serde_json::Value;

use crate::out;

/// Where `dvsync local` serves telemetry items, unless the port is taken.
pub(crate) const ITEMS_PORT: u16 = 8330;

/// Options of `dvsync trace`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Correlation id, operation id, notification id, or row (`account:GUID`, or the GUID alone).
    id: String,
    /// Where the running `dvsync local` serves its telemetry.
    #[arg(long, value_name = "URL", default_value_t = default_url())]
    url: String,
    /// Read a file of items instead, one a line: what `dvsync local --telemetry-file` wrote.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    from: Option<PathBuf>,
    /// Print the story as JSON.
    #[arg(long)]
    json: bool,
    /// Print the query that shows the same in Azure (Application Insights, Logs), and look nothing up.
    #[arg(long, conflicts_with_all = ["json", "from", "url"])]
    kql: bool,
}

fn default_url() -> String {
    format!("http://127.0.0.1:{ITEMS_PORT}")
}

/// The option that `dvsync trace` needs for items that are served at `url`; empty for the usual place.
pub(crate) fn url_option(url: &str) -> String {
    if url == default_url() {
        String::new()
    } else {
        format!(" --url {url}")
    }
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let wanted = Wanted::parse(&options.id).map_err(|reason| anyhow!(reason))?;
    if options.kql {
        out::line(kql(&wanted));
        return Ok(ExitCode::SUCCESS);
    }
    let (items, searched) = match &options.from {
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let items = parse(&text).with_context(|| path.display().to_string())?;
            let searched = format!("{} items of {}", items.len(), path.display());
            (items, searched)
        }
        None => served(&options.url, &options.id).await?,
    };
    let Some(story) = story::of(&items, &wanted) else {
        bail!(
            "nothing is of {}: searched {searched} for an operation, correlation, notification or row of that id. \
             Telemetry arrives some seconds after what it tells of, and only the newest items are kept; `dvsync trace \
             account:GUID` finds all changes of a row",
            options.id
        );
    };
    if options.json {
        out::line(serde_json::to_string(&story)?);
    } else {
        let paint = if std::io::stdout().is_terminal() {
            Paint::Colour
        } else {
            Paint::Plain
        };
        out::part(story::render(&story, paint));
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(text: &str) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = number + 1;
        let envelope: Value = serde_json::from_str(line)
            .with_context(|| format!("line {number} is no telemetry item"))?;
        let item = Item::read(envelope);
        items.push(item.with_context(|| format!("line {number}: an item needs a time"))?);
    }
    Ok(items)
}

/// The items around an id, and what was searched, in words.
async fn served(url: &str, id: &str) -> anyhow::Result<(Vec<Item>, String)> {
    let url = url.trim_end_matches('/');
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()?;
    let read = async |path: &str| -> anyhow::Result<String> {
        let response = client.get(format!("{url}{path}")).send().await;
        let response = response.with_context(|| {
            format!(
                "nobody serves telemetry at {url}: start `dvsync local` and leave it running, name the address it printed \
                 with --url, or read a file with --from"
            )
        })?;
        Ok(response.error_for_status()?.text().await?)
    };
    let items = parse(&read(&format!("/items?id={id}")).await?)?;
    let counts: Value = serde_json::from_str(&read("/counts").await?)?;
    let held = &counts["held"];
    let dropped = match counts["dropped"].as_u64() {
        Some(dropped) if dropped > 0 => format!(" ({dropped} older ones were dropped)"),
        _ => String::new(),
    };
    Ok((items, format!("the {held} items at {url}{dropped}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_item_is_named() {
        let error = parse("{\"time\":\"2026-03-02T10:00:00Z\"}\n\nnonsense\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3 is no telemetry item");
    }

    #[test]
    fn the_usual_place_needs_no_option() {
        assert_eq!(url_option("http://127.0.0.1:8330"), "");
        assert_eq!(
            url_option("http://127.0.0.1:5"),
            " --url http://127.0.0.1:5"
        );
    }
}
