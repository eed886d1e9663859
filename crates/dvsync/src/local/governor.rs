//! How the identities of both apps fare at Dataverse, from the events the apps log about it.
//!
//! The governor lives in the apps' processes, and their log is what comes out of them here as in Azure.
//! Each process counts on its own, and one that is killed takes with it what it had not told yet: totals
//! are added up over all processes of an app, the rest is what one of them said last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use local_stack::host::LogLine;
use serde::{Deserialize, Serialize};
use sync_core::dataverse::{GOVERNOR, MERGING};

/// How one identity of one app fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityReport {
    /// The app.
    pub(crate) app: String,
    /// A client id, or `app` for the app's own identity.
    pub(crate) identity: String,
    /// Requests it may have under way.
    pub(crate) concurrency_limit: u32,
    /// Requests it has under way.
    pub(crate) in_flight: u32,
    /// Requests a second it spreads its load to, beyond a small burst.
    pub(crate) allowed_requests_per_second: f64,
    /// Requests refused by a service protection limit.
    pub(crate) throttled: u64,
    /// It is to stay away until then, RFC 3339.
    pub(crate) gated_until: Option<String>,
    /// Requests sent.
    pub(crate) requests: u64,
}

impl IdentityReport {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let gate = match &self.gated_until {
            Some(until) => format!(", left alone until {until}"),
            None => String::new(),
        };
        format!(
            "{:<11} identity {}: {} requests, {} throttled, {} of {} under way, {:.1} a second allowed{gate}",
            self.app,
            self.identity,
            self.requests,
            self.throttled,
            self.in_flight,
            self.concurrency_limit,
            self.allowed_requests_per_second,
        )
    }
}

#[derive(Debug, Deserialize)]
struct GovernorEvent {
    #[serde(rename = "governor.process_id")]
    process: u32,
    #[serde(rename = "governor.identity")]
    identity: String,
    #[serde(rename = "governor.concurrency_limit")]
    concurrency_limit: u32,
    #[serde(rename = "governor.in_flight")]
    in_flight: u32,
    #[serde(rename = "governor.allowed_requests_per_second")]
    allowed_requests_per_second: f64,
    #[serde(rename = "governor.gated_until")]
    gated_until: Option<String>,
    #[serde(rename = "governor.requests_total")]
    requests: u64,
    #[serde(rename = "governor.throttled_total")]
    throttled: u64,
}

#[derive(Debug, Deserialize)]
struct MergingEvent {
    #[serde(rename = "merging.process_id")]
    process: u32,
    #[serde(rename = "merging.pages_total")]
    pages: u64,
    #[serde(rename = "merging.rows_total")]
    rows: u64,
}

#[derive(Debug, Deserialize)]
struct Targeted {
    target: String,
}

/// What the apps have told so far.
#[derive(Debug, Default)]
pub(super) struct Reports(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    identities: BTreeMap<(String, String), Told>,
    /// Pages and rows by app and process.
    merging: BTreeMap<(String, u32), (u64, u64)>,
}

#[derive(Debug)]
struct Told {
    latest: IdentityReport,
    /// Requests and throttles by process.
    totals: BTreeMap<u32, (u64, u64)>,
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of an app's log in. Returns the report if it says that a throttle struck.
    pub(super) fn take(&self, app: &str, line: &LogLine) -> Option<IdentityReport> {
        if !line.text.contains(GOVERNOR) && !line.text.contains(MERGING) {
            return None;
        }
        let event: Targeted = serde_json::from_str(&line.text).ok()?;
        if event.target == MERGING {
            let event: MergingEvent = serde_json::from_str(&line.text).ok()?;
            let mut state = self.state();
            state
                .merging
                .insert((app.to_owned(), event.process), (event.pages, event.rows));
            return None;
        }
        let event: GovernorEvent = serde_json::from_str(&line.text).ok()?;
        let latest = IdentityReport {
            app: app.to_owned(),
            identity: event.identity.clone(),
            concurrency_limit: event.concurrency_limit,
            in_flight: event.in_flight,
            allowed_requests_per_second: event.allowed_requests_per_second,
            throttled: event.throttled,
            gated_until: event.gated_until,
            requests: event.requests,
        };
        let mut state = self.state();
        let told = state
            .identities
            .entry((app.to_owned(), event.identity))
            .or_insert_with(|| Told {
                latest: latest.clone(),
                totals: BTreeMap::new(),
            });
        told.latest = latest;
        let now = (event.requests, event.throttled);
        let before = told.totals.insert(event.process, now).unwrap_or_default();
        (now.1 > before.1).then(|| told.report())
    }

    /// Each identity of each app.
    pub(super) fn identities(&self) -> Vec<IdentityReport> {
        self.state().identities.values().map(Told::report).collect()
    }

    /// Rows of a request that carried rows, on average over both apps.
    pub(super) fn mean_page_rows(&self) -> Option<f64> {
        let state = self.state();
        let pages: u64 = state.merging.values().map(|m| m.0).sum();
        let rows: u64 = state.merging.values().map(|m| m.1).sum();
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        (pages > 0).then(|| rows as f64 / pages as f64)
    }

    /// For the live count: requests and throttles of both apps.
    pub(super) fn summary(&self) -> String {
        let (mut requests, mut throttled, mut under_way, mut limit) = (0, 0, 0, 0);
        for report in self.identities() {
            requests += report.requests;
            throttled += report.throttled;
            under_way += report.in_flight;
            limit += report.concurrency_limit;
        }
        format!(
            "  Dataverse {requests} requests ({under_way} of {limit} under way, {throttled} throttled)"
        )
    }
}

impl Told {
    fn report(&self) -> IdentityReport {
        IdentityReport {
            requests: self.totals.values().map(|t| t.0).sum(),
            throttled: self.totals.values().map(|t| t.1).sum(),
            ..self.latest.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use local_stack::host::{LineLevel, LineSource};
    use serde_json::json;

    use super::*;

    fn line(process: u32, requests: u64, throttled: u64) -> LogLine {
        let text = json!({"timestamp": "2026-01-01T00:00:00Z", "level": "INFO", "message": "m", "target": GOVERNOR,
            "governor.identity": "app", "governor.concurrency_limit": 8, "governor.in_flight": 2,
            "governor.allowed_requests_per_second": 20.0, "governor.process_id": process, "governor.requests_total": requests,
            "governor.throttled_total": throttled})
        .to_string();
        LogLine {
            source: LineSource::Stdout,
            level: LineLevel::Information,
            text,
        }
    }

    #[test]
    fn totals_outlive_a_process_that_was_killed_and_throttles_are_told_as_they_come() {
        let reports = Reports::default();
        assert_eq!(reports.take("outbound-fn", &line(1, 10, 0)), None);
        let throttled = reports.take("outbound-fn", &line(1, 20, 3)).unwrap();
        assert_eq!((throttled.requests, throttled.throttled), (20, 3));
        assert_eq!(
            reports.take("outbound-fn", &line(2, 5, 0)),
            None,
            "a new process"
        );
        reports.take("inbound-fn", &line(3, 7, 0));
        let told = reports.identities();
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[1].app.as_str(), told[1].requests, told[1].throttled),
            ("outbound-fn", 25, 3)
        );
        assert!(
            told[1]
                .line()
                .contains("25 requests, 3 throttled, 2 of 8 under way")
        );
    }

    #[test]
    fn other_lines_of_the_log_are_left_alone() {
        let text = format!("{GOVERNOR} is not JSON");
        let odd = LogLine {
            text,
            ..line(1, 1, 1)
        };
        assert_eq!(Reports::default().take("outbound-fn", &odd), None);
    }
}
