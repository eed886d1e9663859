//! How late changes arrive, over the last minutes.

use std::collections::VecDeque;

use serde_json::{Value, json};
use time::OffsetDateTime;

/// Width of a point of the lag plot, and how many there are: five minutes.
pub(super) const BUCKET_SECONDS: i64 = 5;
const BUCKETS: i64 = 60;
/// Lags remembered; more would only sharpen percentiles.
const KEPT: usize = 20_000;

/// Lags that ended, oldest first: when, and how many milliseconds.
#[derive(Debug, Default)]
pub(super) struct Lags(VecDeque<(OffsetDateTime, i64)>);

impl Lags {
    /// Takes in one that ended at `at`.
    pub(super) fn keep(&mut self, at: OffsetDateTime, since: OffsetDateTime) {
        self.0.push_back((at, ms(at) - ms(since)));
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// Median and 95th percentile by time, oldest first; null where nothing arrived.
    pub(super) fn percentiles(&self, now: OffsetDateTime) -> Vec<Value> {
        let newest = now.unix_timestamp() / BUCKET_SECONDS;
        let mut buckets = vec![Vec::new(); usize::try_from(BUCKETS).unwrap_or_default()];
        for (at, lag) in self.0.iter().rev() {
            let age = newest - at.unix_timestamp() / BUCKET_SECONDS;
            let Some(place) = usize::try_from(BUCKETS - 1 - age).ok() else {
                break;
            };
            if let Some(bucket) = buckets.get_mut(place) {
                bucket.push(*lag);
            }
        }
        let point = |bucket: &mut Vec<i64>| {
            bucket.sort_unstable();
            let at = |share: usize| bucket.get(bucket.len().saturating_sub(1) * share / 100);
            at(50).map_or(Value::Null, |p50| json!({"p50": p50, "p95": at(95)}))
        };
        buckets.iter_mut().map(point).collect()
    }
}

/// Milliseconds since 1970, as scripts count time.
pub(super) fn ms(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1000 + i64::from(at.millisecond())
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn percentiles_leave_a_gap_where_nothing_arrived_and_forget_what_is_old() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(10_000);
        let mut lags = Lags::default();
        for (ago, took) in [(900, 9), (20, 40), (0, 10), (0, 30), (0, 20)] {
            let at = now - Duration::seconds(ago);
            lags.keep(at, at - Duration::milliseconds(took));
        }
        let points = lags.percentiles(now);
        assert_eq!(points.len(), 60);
        assert_eq!(points[59], json!({"p50": 20, "p95": 20}));
        assert_eq!(points[58], Value::Null);
        assert_eq!(points[55]["p50"], 40);
        assert_eq!(points.iter().filter(|p| !p.is_null()).count(), 2);
    }
}
