//! A timer's schedule: an NCRONTAB expression or a constant interval, in UTC.

use std::iter;

use time::{Duration, OffsetDateTime};

use super::ncrontab::Ncrontab;
use crate::host::config::parse_time_span;

/// When a timer occurs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Schedule {
    Cron(Box<Ncrontab>),
    Constant(Duration),
}

impl Schedule {
    /// Reads the `schedule` of function.json, with settings already resolved.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(cron) = Ncrontab::parse(text) {
            return Some(Self::Cron(Box::new(cron)));
        }
        let interval = parse_time_span(text)?;
        interval.is_positive().then_some(Self::Constant(interval))
    }

    /// The first occurrence after `base`; `None` when the expression names a day that never comes.
    pub(crate) fn next_after(&self, base: OffsetDateTime) -> Option<OffsetDateTime> {
        match self {
            Self::Cron(cron) => cron.next_after(base),
            Self::Constant(interval) => base.checked_add(*interval),
        }
    }

    /// What the host reports as `Schedule.AdjustForDST`.
    pub(crate) fn adjusts_for_dst(&self) -> bool {
        matches!(self, Self::Cron(_))
    }

    /// Whether occurrences are less than a minute apart: then the host does not monitor the schedule.
    pub(crate) fn is_too_frequent_to_monitor(&self, now: OffsetDateTime) -> bool {
        let mut next = iter::successors(Some(now), |base| self.next_after(*base));
        next.next();
        let occurrences: Vec<_> = next.take(5).collect();
        let gaps = occurrences.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.min().is_some_and(|gap| gap < Duration::MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_span_is_a_constant_interval() {
        let schedule = Schedule::parse("00:05:00").unwrap();
        let now = datetime!(2026-03-02 09:10:30 UTC);
        assert_eq!(
            schedule.next_after(now),
            Some(datetime!(2026-03-02 09:15:30 UTC))
        );
        assert!(!schedule.adjusts_for_dst());
        assert_eq!(Schedule::parse("00:00:00"), None);
        assert_eq!(Schedule::parse("often"), None);
    }

    #[test]
    fn schedules_under_a_minute_are_not_monitored() {
        let now = datetime!(2026-03-02 09:10:30 UTC);
        for (text, too_frequent) in [
            ("*/30 * * * * *", true),
            ("0,10 0 * * * *", true),
            ("0 * * * * *", false),
            ("00:00:05", true),
            ("00:01:00", false),
        ] {
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(
                schedule.is_too_frequent_to_monitor(now),
                too_frequent,
                "{text}"
            );
        }
    }
}
