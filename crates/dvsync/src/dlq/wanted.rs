//! Which letters are meant, as options.

use anyhow::bail;
use clap::Args;
use dead_letters::{Place, Wanted};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::moment::moment;

/// Which letters; without these all. Several of one kind: any of them. Several kinds: all of them.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Given up for that reason or code, e.g. RejectedByTarget.
    #[arg(long, value_name = "CODE")]
    reason: Vec<String>,
    /// Given up in that stage, e.g. deliver.
    #[arg(long)]
    stage: Vec<String>,
    /// Given up with that HTTP status, e.g. 503.
    #[arg(long)]
    status: Vec<i64>,
    /// About a row of that table, e.g. account.
    #[arg(long)]
    table: Vec<String>,
    /// About that row.
    #[arg(long, value_name = "GUID")]
    row: Vec<Uuid>,
    /// Of that change.
    #[arg(long, value_name = "ID")]
    correlation_id: Vec<String>,
    /// With that number, as `dvsync dlq show` prints it; takes one --queue.
    #[arg(long)]
    number: Vec<i64>,
    /// Enqueued then or later: 2026-03-02T09:15:00Z, or 90m, 12h, 3d ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<OffsetDateTime>,
    /// Enqueued before then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<OffsetDateTime>,
}

impl Which {
    /// Its times as options, absolute; empty if none was given.
    pub(super) fn times(&self) -> String {
        let given = [("--since", self.since), ("--until", self.until)];
        let given = given.into_iter().filter_map(|(option, time)| {
            let time = time?.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()?;
            Some(format!(" {option} {time}"))
        });
        given.collect()
    }

    /// Of these places.
    pub(super) fn wanted(&self, places: &[Place]) -> anyhow::Result<Wanted> {
        if !self.number.is_empty() && places.len() != 1 {
            bail!("--number counts in one queue: say which with --queue");
        }
        Ok(Wanted {
            numbers: self.number.iter().copied().collect(),
            reasons: self.reason.clone(),
            stages: self.stage.clone(),
            statuses: self.status.clone(),
            tables: self.table.clone(),
            rows: self.row.clone(),
            correlation_ids: self.correlation_id.clone(),
            since: self.since,
            until: self.until,
        })
    }
}
