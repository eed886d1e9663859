//! NCRONTAB expressions (the NCrontab library the host uses): `{second} minute hour day month weekday`.
//!
//! Unlike other cron dialects, Sunday is 0, a day must match day *and* weekday, and `n/s` means "from n
//! to the end in steps of s". Names (`JAN`, `MON`) are accepted in any case.

use time::{Date, Duration, OffsetDateTime, Time};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// A parsed expression. Each field is a set of its values, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ncrontab {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

impl Ncrontab {
    /// Reads six fields, or five, which leave out the seconds. `None` when it is not an expression.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (seconds, rest) = match fields.len() {
            5 => ("0", fields.as_slice()),
            6 => (fields[0], &fields[1..]),
            _ => return None,
        };
        Some(Self {
            seconds: field(seconds, 0, 59, &[])?,
            minutes: field(rest[0], 0, 59, &[])?,
            hours: field(rest[1], 0, 23, &[])?,
            days: field(rest[2], 1, 31, &[])?,
            months: field(rest[3], 1, 12, &MONTHS)?,
            weekdays: field(rest[4], 0, 6, &WEEKDAYS)?,
        })
    }

    /// The first occurrence after `base`, in UTC; `None` when there is none within the next years (the
    /// 30th of February).
    pub(super) fn next_after(&self, base: OffsetDateTime) -> Option<OffsetDateTime> {
        let start = base.replace_nanosecond(0).ok()? + Duration::SECOND;
        let mut date = start.date();
        let mut from = start.time();
        // Eight years hold every combination that exists, also around a century without a leap day.
        for _ in 0..8 * 366 {
            if self.has_date(date)
                && let Some(time) = self.next_time(from)
            {
                return Some(date.with_time(time).assume_utc());
            }
            date = date.next_day()?;
            from = Time::MIDNIGHT;
        }
        None
    }

    fn has_date(&self, date: Date) -> bool {
        contains(self.months, u8::from(date.month()))
            && contains(self.days, date.day())
            && contains(self.weekdays, date.weekday().number_days_from_sunday())
    }

    /// The first time of day at or after `from`.
    fn next_time(&self, from: Time) -> Option<Time> {
        let (mut minute_from, mut second_from) = (from.minute(), from.second());
        for hour in from.hour()..24 {
            if contains(self.hours, hour) {
                for minute in minute_from..60 {
                    if contains(self.minutes, minute)
                        && let Some(second) = (second_from..60).find(|s| contains(self.seconds, *s))
                    {
                        return Time::from_hms(hour, minute, second).ok();
                    }
                    second_from = 0;
                }
            }
            (minute_from, second_from) = (0, 0);
        }
        None
    }
}

fn contains(set: u64, value: u8) -> bool {
    set & (1 << value) != 0
}

fn field(text: &str, min: u8, max: u8, names: &[&str]) -> Option<u64> {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = if range == "*" {
            (min, max)
        } else if let Some((first, last)) = range.split_once('-') {
            let ends = (value(first, min, names)?, value(last, min, names)?);
            (ends.0.min(ends.1), ends.0.max(ends.1))
        } else {
            let first = value(range, min, names)?;
            (first, if step == 1 { first } else { max })
        };
        if first < min || last > max {
            return None;
        }
        for value in (first..=last).step_by(step.into()) {
            set |= 1 << value;
        }
    }
    Some(set)
}

fn value(text: &str, min: u8, names: &[&str]) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let lower = text.to_ascii_lowercase();
    let index = names
        .iter()
        .position(|name| lower.len() >= 3 && name.starts_with(&lower))?;
    u8::try_from(index).ok().map(|index| index + min)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn next(expression: &str, base: OffsetDateTime) -> Option<OffsetDateTime> {
        Ncrontab::parse(expression).unwrap().next_after(base)
    }

    #[test]
    fn the_next_occurrence_is_after_the_base() {
        let base = datetime!(2026-03-02 09:10:00.5 UTC);
        for (expression, expected) in [
            ("0 */5 * * * *", datetime!(2026-03-02 09:15:00 UTC)),
            ("*/5 * * * *", datetime!(2026-03-02 09:15:00 UTC)),
            ("*/10 * * * * *", datetime!(2026-03-02 09:10:10 UTC)),
            ("0 10 9 * * *", datetime!(2026-03-03 09:10:00 UTC)),
            ("30 59 23 28-31 * *", datetime!(2026-03-28 23:59:30 UTC)),
            ("0 0 0 29 2 *", datetime!(2028-02-29 00:00:00 UTC)),
            ("0 30 9 * * Mon-Fri", datetime!(2026-03-02 09:30:00 UTC)),
            ("0 0 9 * jan SUN", datetime!(2027-01-03 09:00:00 UTC)),
            ("0 0 8,20 * * *", datetime!(2026-03-02 20:00:00 UTC)),
            ("0 50/3 * * * *", datetime!(2026-03-02 09:50:00 UTC)),
            ("0 0 0 1 1 *", datetime!(2027-01-01 00:00:00 UTC)),
        ] {
            assert_eq!(next(expression, base), Some(expected), "{expression}");
        }
        assert_eq!(
            next("0 10 9 * * *", datetime!(2026-03-02 09:10:00 UTC)),
            Some(datetime!(2026-03-03 09:10:00 UTC))
        );
    }

    #[test]
    fn sunday_is_zero_and_day_and_weekday_must_both_match() {
        let base = datetime!(2026-03-02 00:00 UTC);
        assert_eq!(
            next("0 0 0 * * 0", base),
            Some(datetime!(2026-03-08 00:00 UTC))
        );
        assert_eq!(
            next("0 0 0 13 * 5", base),
            Some(datetime!(2026-03-13 00:00 UTC))
        );
        assert_eq!(
            next("0 0 0 14 * 5", base),
            Some(datetime!(2026-08-14 00:00 UTC))
        );
    }

    #[test]
    fn a_day_that_never_comes_has_no_occurrence() {
        assert_eq!(next("0 0 0 30 2 *", datetime!(2026-03-02 00:00 UTC)), None);
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * * *",
            "* * * 0 * *",
            "* * * * * 7",
            "a * * * * *",
            "*/0 * * * * *",
            "1- * * * * *",
            "00:05:00",
        ] {
            assert_eq!(Ncrontab::parse(text), None, "{text}");
        }
    }

    #[test]
    fn months_are_counted_from_one() {
        assert_eq!(field("dec", 1, 12, &MONTHS), Some(1 << 12));
    }
}
