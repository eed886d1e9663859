//! Whether Dataverse works, as the page shows it: by what became of the integration's requests.

use local_stack::dataverse::{DataverseCounters, DataverseFaults};
use time::OffsetDateTime;

use super::board::RECENT;

/// How the requests of the last look that saw any fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fared {
    #[default]
    NotCalled,
    Well,
    Mixed,
    Badly,
}

/// The integration's requests, followed.
#[derive(Debug, Default)]
pub(super) struct Requests {
    seen: u64,
    faulted: u64,
    refused: u64,
    last: Fared,
    /// Status of what failed, where there is one for all.
    status: Option<u16>,
    failed_at: Option<OffsetDateTime>,
}

impl Requests {
    /// Takes in what has come since the last look. Refusals by the environment's own limits count, too.
    pub(super) fn follow(
        &mut self,
        counters: &DataverseCounters,
        faults: &DataverseFaults,
        now: OffsetDateTime,
    ) {
        let total = counters.integration.total();
        let (faulted, refused) = (counters.integration.faulted, counters.refused_in_all());
        if total == self.seen {
            return;
        }
        let new = total - std::mem::replace(&mut self.seen, total);
        let faulted = faulted - std::mem::replace(&mut self.faulted, faulted);
        let refused = refused - std::mem::replace(&mut self.refused, refused);
        self.last = match faulted + refused {
            0 => Fared::Well,
            bad if bad < new => Fared::Mixed,
            _ => Fared::Badly,
        };
        if self.last != Fared::Well {
            self.status = if faulted > 0 {
                status(faults)
            } else {
                Some(429)
            };
            self.failed_at = Some(now);
        }
    }

    /// Colour and words.
    pub(super) fn state(&self, now: OffsetDateTime) -> (&'static str, String) {
        let status = self.status.map(|status| format!(": {status}"));
        let status = status.unwrap_or_default();
        let recently = self.failed_at.is_some_and(|at| now - at < RECENT);
        match self.last {
            Fared::NotCalled => ("green", "not called yet".to_owned()),
            Fared::Badly if self.status == Some(429) => ("red", "throttling: 429".to_owned()),
            Fared::Badly => ("red", format!("failing{status}")),
            Fared::Mixed => ("amber", format!("fails at times{status}")),
            Fared::Well if recently => ("amber", "recovering".to_owned()),
            Fared::Well => ("green", "up".to_owned()),
        }
    }
}

/// The status that all faults in force answer with.
fn status(faults: &DataverseFaults) -> Option<u16> {
    let known = |name: &str, rate: f64| faults.rate_known.get(name).is_some_and(|r| *r >= rate);
    if faults.rate_503 >= 1.0 {
        Some(503)
    } else if faults.rate_429 >= 1.0 {
        Some(429)
    } else if known(super::switches::FORBIDS, 1.0) {
        Some(403)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use local_stack::dataverse::RequestKind;
    use time::Duration;

    use super::*;

    fn counters(total: u64, faulted: u64) -> DataverseCounters {
        let mut counters = DataverseCounters::default();
        counters
            .integration
            .by_kind
            .insert(RequestKind::GetSingle, total);
        counters.integration.faulted = faulted;
        counters
    }

    #[test]
    fn dataverse_is_red_while_all_fails_and_green_some_time_after_the_last_failure() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let down = DataverseFaults {
            rate_503: 1.0,
            ..DataverseFaults::default()
        };
        let mut requests = Requests::default();
        assert_eq!(requests.state(now).1, "not called yet");
        requests.follow(&counters(5, 0), &down, now);
        assert_eq!(requests.state(now), ("green", "up".to_owned()));
        requests.follow(&counters(7, 2), &down, now);
        // Nobody calls while the breaker is open.
        requests.follow(&counters(7, 2), &down, now);
        assert_eq!(requests.state(now), ("red", "failing: 503".to_owned()));
        requests.follow(&counters(9, 3), &down, now);
        assert_eq!(requests.state(now).0, "amber");
        requests.follow(&counters(10, 3), &DataverseFaults::default(), now);
        assert_eq!(requests.state(now), ("amber", "recovering".to_owned()));
        assert_eq!(requests.state(now + Duration::seconds(11)).0, "green");
    }
}
