//! The invocation of a timer trigger.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::value::{BindingData, seven_digits};
use super::{Retry, Sys, envelope};
use crate::host::trigger::ScheduleRecord;

/// Encodes one run of a timer; `record` is `None` when the schedule is not monitored.
pub(crate) fn encode_timer(
    binding: &str,
    adjust_for_dst: bool,
    record: Option<&ScheduleRecord>,
    is_past_due: bool,
    sys: &Sys,
    retry: Option<&Retry>,
) -> Vec<u8> {
    let record = record.map(schedule_status);
    let data = json!({
        "Schedule": {"AdjustForDST": adjust_for_dst},
        "ScheduleStatus": record,
        "IsPastDue": is_past_due,
    });
    let mut metadata = BindingData::default();
    metadata.add("sys", sys.value());
    if let Some(retry) = retry {
        metadata.add("RetryContext", retry.value());
    }
    envelope(binding, data, metadata)
}

/// A timer's record as Json.NET writes it, in invocations and in storage.
pub(crate) fn schedule_status(record: &ScheduleRecord) -> Value {
    json!({
        "Last": date(record.last),
        "Next": date(Some(record.next)),
        "LastUpdated": date(record.last_updated),
    })
}

/// A local time of a host whose zone is UTC; .NET's smallest date has no zone.
fn date(date: Option<OffsetDateTime>) -> Value {
    Value::String(match date {
        Some(date) => format!("{}+00:00", seven_digits(date)),
        None => "0001-01-01T00:00:00".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::uuid;

    use super::*;

    fn compact(golden: &str) -> String {
        serde_json::from_str::<Value>(golden).unwrap().to_string()
    }

    fn sys() -> Sys {
        Sys {
            method_name: "Sweep".to_owned(),
            utc_now: datetime!(2026-03-02 09:15:31.4567891 UTC),
            rand_guid: uuid!("24ad4c06-24ad-4e5b-8294-3da9714877e9"),
        }
    }

    #[test]
    fn a_monitored_timer_is_encoded_as_in_golden_g5() {
        let record = ScheduleRecord {
            last: Some(datetime!(2026-03-02 09:10:00.0123456 UTC)),
            next: datetime!(2026-03-02 09:15:00 UTC),
            last_updated: Some(datetime!(2026-03-02 09:10:00.0123456 UTC)),
        };
        let body = encode_timer("tick", true, Some(&record), false, &sys(), None);
        let golden =
            include_str!("../../../../custom-handler/tests/golden/g5-timer-monitored.json");
        assert_eq!(String::from_utf8(body).unwrap(), compact(golden));
    }

    #[test]
    fn a_retried_timer_is_encoded_as_in_golden_g6() {
        let retry = Retry {
            retry_count: 1,
            max_retry_count: Some(3),
            failure: Some("Exception while executing function: Functions.Sweep".to_owned()),
        };
        let body = encode_timer("tick", true, None, false, &sys(), Some(&retry));
        let golden = include_str!("../../../../custom-handler/tests/golden/g6-timer-retry.json");
        assert_eq!(String::from_utf8(body).unwrap(), compact(golden));
    }
}
