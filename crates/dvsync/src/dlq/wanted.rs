//! Which letters are meant, as options.

use anyhow::bail;
use clap::Args;
use dead_letters::{Place, Wanted};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

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

/// A time, or so long ago.
fn moment(text: &str) -> Result<OffsetDateTime, String> {
    moment_at(text, OffsetDateTime::now_utc())
}

fn moment_at(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let unit = match text.chars().last() {
        Some('m') => Duration::MINUTE,
        Some('h') => Duration::HOUR,
        Some('d') => Duration::DAY,
        _ => return Err(NO_TIME.into()),
    };
    let count: i32 = text[..text.len() - 1].parse().map_err(|_| NO_TIME)?;
    now.checked_sub(unit * count).ok_or_else(|| NO_TIME.into())
}

const NO_TIME: &str = "no time: give one like 2026-03-02T09:15:00Z, or so long ago: 90m, 12h, 3d";

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_absolute_or_so_long_ago() {
        let now = datetime!(2026-03-02 09:15:00 UTC);
        let read = |text: &str| moment_at(text, now);
        assert_eq!(
            read("2026-03-01T00:00:00Z"),
            Ok(datetime!(2026-03-01 00:00 UTC))
        );
        assert_eq!(read("90m"), Ok(datetime!(2026-03-02 07:45 UTC)));
        assert_eq!(read("3d"), Ok(datetime!(2026-02-27 09:15 UTC)));
        for wrong in [
            "",
            "m",
            "yesterday",
            "3w",
            "2026-03-01",
            "9999999999d",
            "3ä",
        ] {
            assert_eq!(read(wrong), Err(NO_TIME.to_owned()), "{wrong}");
        }
    }
}
