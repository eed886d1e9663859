//! What is remembered of a timer's runs, over restarts of the host (`StorageScheduleMonitor`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Schedule;

/// The schedule monitor's record of one timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScheduleRecord {
    /// The occurrence that ran last; `None` before the first run, and after a change of the schedule.
    #[serde(with = "time::serde::rfc3339::option")]
    pub(crate) last: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) next: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(crate) last_updated: Option<OffsetDateTime>,
}

impl ScheduleRecord {
    /// The record of a timer that was never seen before.
    fn first(schedule: &Schedule, now: OffsetDateTime) -> Option<Self> {
        Some(Self {
            last: None,
            next: schedule.next_after(now)?,
            last_updated: Some(now),
        })
    }

    /// The record to go on with when the host starts at `now`, and whether an occurrence was missed.
    ///
    /// `None` when the schedule has no occurrence.
    pub(crate) fn at_start(
        recorded: Option<Self>,
        schedule: &Schedule,
        now: OffsetDateTime,
    ) -> Option<(Self, bool)> {
        let Some(mut record) = recorded else {
            return Some((Self::first(schedule, now)?, false));
        };
        let base = record.last.or(record.last_updated).unwrap_or(now);
        let mut expected = schedule.next_after(base)?;
        if record.next != expected {
            // The schedule was changed. What the new one would have done in the past is not made up for.
            if now > expected {
                expected = schedule.next_after(now)?;
            }
            record = Self {
                last: None,
                next: expected,
                last_updated: Some(base),
            };
        }
        Some((record, now > record.next))
    }

    /// The record after a run at `ran_at`. A run that came slightly early counts as on time, otherwise
    /// the same occurrence would come twice.
    pub(crate) fn after_run(
        self,
        schedule: &Schedule,
        ran_at: OffsetDateTime,
        on_schedule: bool,
    ) -> Option<Self> {
        let at = if on_schedule {
            ran_at.max(self.next)
        } else {
            ran_at
        };
        Some(Self {
            last: Some(at),
            next: schedule.next_after(at)?,
            last_updated: Some(at),
        })
    }
}

/// The records of an app's timers: in memory, and in files if there is a folder for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimerRecords {
    memory: Arc<Mutex<BTreeMap<String, ScheduleRecord>>>,
    folder: Option<PathBuf>,
}

impl TimerRecords {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            memory: Arc::default(),
            folder,
        }
    }

    pub(crate) fn get(&self, function: &str) -> Option<ScheduleRecord> {
        let kept = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(function).copied();
        kept.or_else(|| serde_json::from_slice(&std::fs::read(self.file(function)?).ok()?).ok())
    }

    /// Keeps a record. An error is that of writing its file; memory has it in any case.
    pub(crate) fn set(&self, function: &str, record: ScheduleRecord) -> std::io::Result<()> {
        let mut kept = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(function.to_owned(), record);
        drop(kept);
        if let (Some(folder), Some(file)) = (&self.folder, self.file(function)) {
            std::fs::create_dir_all(folder)?;
            std::fs::write(file, serde_json::to_vec(&record)?)?;
        }
        Ok(())
    }

    fn file(&self, function: &str) -> Option<PathBuf> {
        self.folder
            .as_ref()
            .map(|folder| folder.join(format!("{function}.json")))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn every_five_minutes() -> Schedule {
        Schedule::parse("0 */5 * * * *").unwrap()
    }

    #[test]
    fn a_timer_never_seen_before_is_not_past_due() {
        let now = datetime!(2026-03-02 09:11 UTC);
        let (record, past_due) =
            ScheduleRecord::at_start(None, &every_five_minutes(), now).unwrap();
        assert_eq!(
            (record.last, record.next, past_due),
            (None, datetime!(2026-03-02 09:15 UTC), false)
        );
    }

    #[test]
    fn an_occurrence_that_was_missed_while_the_host_was_away_is_past_due() {
        let schedule = every_five_minutes();
        let (record, _) =
            ScheduleRecord::at_start(None, &schedule, datetime!(2026-03-02 09:11 UTC)).unwrap();
        let start = |now| {
            ScheduleRecord::at_start(Some(record), &schedule, now)
                .unwrap()
                .1
        };
        assert!(!start(datetime!(2026-03-02 09:14 UTC)));
        assert!(start(datetime!(2026-03-02 09:16 UTC)));
    }

    #[test]
    fn a_changed_schedule_is_not_past_due() {
        let (record, _) =
            ScheduleRecord::at_start(None, &every_five_minutes(), datetime!(2026-03-02 09:11 UTC))
                .unwrap();
        let hourly = Schedule::parse("0 0 * * * *").unwrap();
        let (record, past_due) =
            ScheduleRecord::at_start(Some(record), &hourly, datetime!(2026-03-02 11:30 UTC))
                .unwrap();
        assert_eq!(
            (record.next, past_due),
            (datetime!(2026-03-02 12:00 UTC), false)
        );
    }

    #[test]
    fn a_run_that_came_early_does_not_come_twice() {
        let schedule = every_five_minutes();
        let now = datetime!(2026-03-02 09:11 UTC);
        let (record, _) = ScheduleRecord::at_start(None, &schedule, now).unwrap();
        let early = datetime!(2026-03-02 09:14:59.9 UTC);
        let record = record.after_run(&schedule, early, true).unwrap();
        assert_eq!(record.next, datetime!(2026-03-02 09:20 UTC));
    }

    #[test]
    fn records_survive_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let records = TimerRecords::new(Some(folder.path().join("timers")));
        assert_eq!(records.get("Sweep"), None);
        let record =
            ScheduleRecord::first(&every_five_minutes(), datetime!(2026-03-02 09:11 UTC)).unwrap();
        records.set("Sweep", record).unwrap();
        let other = TimerRecords::new(Some(folder.path().join("timers")));
        assert_eq!(other.get("Sweep"), Some(record));
    }
}
