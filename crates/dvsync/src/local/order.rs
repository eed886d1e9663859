//! Whether the calls of each row were sent in the order of its versions, which sessions promise.
//!
//! In the order in which they came to the target, not in the order in which it applied them: a plain target
//! may apply a call after its caller gave up, which the next delivery repairs.

use std::collections::BTreeMap;

use local_stack::target::Call;

/// What the target is told to hold; a deleted row never comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Version(i64),
    Deleted,
}

/// How many calls told less than one before them.
pub(super) fn sent_out_of_order(calls: &[Call]) -> usize {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|call| call.arrival);
    let mut newest = BTreeMap::new();
    let mut out_of_order = 0;
    for call in calls {
        let version = call.source_version.as_deref().and_then(|v| v.parse().ok());
        let told = match (call.method.as_str(), version) {
            ("DELETE", _) => Told::Deleted,
            ("PUT" | "PATCH", Some(version)) => Told::Version(version),
            _ => continue,
        };
        let newest = newest
            .entry((&call.entity, &call.external_id))
            .or_insert(told);
        if told < *newest {
            out_of_order += 1;
        }
        *newest = told.max(*newest);
    }
    out_of_order
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn call(arrival: u64, method: &str, version: &str) -> Call {
        Call {
            at: OffsetDateTime::UNIX_EPOCH,
            arrival,
            method: method.into(),
            entity: "customers".into(),
            external_id: "1".into(),
            source_version: Some(version.into()),
            idempotency_key: None,
            correlation_id: None,
            traceparent: None,
            status: Some(200),
            applied: true,
            body_hash: None,
        }
    }

    #[test]
    fn a_call_that_goes_back_in_version_is_counted_and_a_repetition_is_not() {
        let calls = [
            call(0, "PUT", "9"),
            call(1, "PUT", "10"),
            call(2, "PUT", "10"),
        ];
        assert_eq!(sent_out_of_order(&calls), 0);
        let calls = [call(0, "PUT", "10"), call(1, "PUT", "9")];
        assert_eq!(sent_out_of_order(&calls), 1);
    }

    #[test]
    fn what_counts_is_when_a_call_came_and_not_when_it_was_applied() {
        let applied = [call(1, "PUT", "10"), call(0, "PUT", "9")];
        assert_eq!(sent_out_of_order(&applied), 0);
    }

    #[test]
    fn a_delete_is_newer_than_any_version() {
        let calls = [
            call(0, "PUT", "10"),
            call(1, "DELETE", "7"),
            call(2, "PUT", "11"),
        ];
        assert_eq!(sent_out_of_order(&calls), 1);
    }
}
