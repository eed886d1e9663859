//! A timer's tick.

use serde_json::Value;
use time::OffsetDateTime;

use crate::DecodeError;
use crate::metadata::parse_date;

/// One run of a timer function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerTrigger {
    /// The schedule monitor's record; `None` when the timer is not monitored (`useMonitor: false`, or a
    /// schedule with more than one occurrence per minute).
    pub schedule_status: Option<ScheduleStatus>,
    /// The run makes up for an occurrence that was missed.
    pub is_past_due: bool,
}

/// What the host remembers of a monitored schedule. A date is `None` until there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The occurrence that ran last.
    pub last: Option<OffsetDateTime>,
    /// The occurrence expected next, as recorded after the last run.
    pub next: Option<OffsetDateTime>,
    /// When the record was written.
    pub last_updated: Option<OffsetDateTime>,
}

impl TimerTrigger {
    pub(crate) fn decode(binding: &str, data: &Value) -> Result<Self, DecodeError> {
        let wrong_shape = || DecodeError::WrongShape {
            binding: binding.to_owned(),
            expected: "a timer",
        };
        let is_past_due = data
            .get("IsPastDue")
            .and_then(Value::as_bool)
            .ok_or_else(wrong_shape)?;
        let schedule_status = match data.get("ScheduleStatus") {
            None | Some(Value::Null) => None,
            Some(status) => Some(ScheduleStatus {
                last: date(status, "Last").ok_or_else(wrong_shape)?,
                next: date(status, "Next").ok_or_else(wrong_shape)?,
                last_updated: date(status, "LastUpdated").ok_or_else(wrong_shape)?,
            }),
        };
        Ok(Self {
            schedule_status,
            is_past_due,
        })
    }
}

/// A member that must be there and a date. .NET's smallest date, which may carry any offset, means "none".
fn date(status: &Value, member: &str) -> Option<Option<OffsetDateTime>> {
    let date = parse_date(status.get(member)?.as_str()?)?;
    Some(Some(date).filter(|date| date.year() > 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timer_that_never_ran_has_no_last_run() {
        let data = json!({"Schedule": {"AdjustForDST": true}, "IsPastDue": false, "ScheduleStatus": {
            "Last": "0001-01-01T00:00:00", "Next": "2026-03-02T09:15:00+00:00", "LastUpdated": "0001-01-01T00:00:00+01:00"}});
        let status = TimerTrigger::decode("tick", &data)
            .unwrap()
            .schedule_status
            .unwrap();
        assert_eq!((status.last, status.last_updated), (None, None));
        assert!(status.next.is_some());
    }
}
