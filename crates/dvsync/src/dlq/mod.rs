//! `dvsync dlq`: the dead letters of the sync's queues, in Azure or on this machine.
//!
//! `place` finds the queues, `wanted` reads which letters are meant, `work` sends them again or puts them
//! aside, `show` prints. What is done to a letter, and in what order, is the crate `dead-letters`.

mod place;
mod show;
mod wanted;
mod work;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dead_letters::{Groups, look};
use serde_json::json;

use crate::out;
use place::{Connection, Where};
use wanted::Which;

/// Options of `dvsync dlq`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count them by reason. Touches nothing.
    List(Looking),
    /// Show each, oldest first. Touches nothing.
    Show(Showing),
    /// Send them again, once the cause is repaired: their retries begin anew.
    Resend(work::Resending),
    /// Write them to a file, and remove them: those that nothing can repair.
    PutAside(work::PuttingAside),
}

#[derive(Debug, Args)]
struct Looking {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Showing {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// So many at most.
    #[arg(long, default_value_t = 20)]
    limit: u64,
    /// Print a JSON object for each, a line each.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.what {
        What::List(looking) => list(looking).await,
        What::Show(showing) => each(showing).await,
        What::Resend(resending) => work::resend(resending).await,
        What::PutAside(putting) => work::put_aside(putting).await,
    }
}

async fn list(options: &Looking) -> anyhow::Result<ExitCode> {
    let connection = Connection::open(&options.place).await?;
    let wanted = options.which.wanted(&connection.places)?;
    let mut groups = Groups::default();
    for place in &connection.places {
        let looked = look(&connection.client, place, &wanted, |letter| {
            groups.add(letter);
            true
        });
        looked
            .await
            .map_err(|error| connection.failed(place, error))?;
    }
    connection.client.close().await;
    let groups = groups.finish();
    if options.json {
        let letters: u64 = groups.iter().map(|group| group.letters).sum();
        out::line(json!({ "letters": letters, "groups": groups }));
    } else {
        show::groups(&connection.places, &groups);
    }
    Ok(ExitCode::SUCCESS)
}

async fn each(options: &Showing) -> anyhow::Result<ExitCode> {
    let connection = Connection::open(&options.place).await?;
    let wanted = options.which.wanted(&connection.places)?;
    let mut shown = 0;
    for place in &connection.places {
        if shown >= options.limit {
            break;
        }
        let looked = look(&connection.client, place, &wanted, |letter| {
            shown += 1;
            if options.json {
                out::line(json!(letter));
            } else {
                show::letter(&letter);
            }
            shown < options.limit
        });
        looked
            .await
            .map_err(|error| connection.failed(place, error))?;
    }
    connection.client.close().await;
    if shown == 0 && !options.json {
        show::none(&connection.places, &wanted);
    }
    Ok(ExitCode::SUCCESS)
}
