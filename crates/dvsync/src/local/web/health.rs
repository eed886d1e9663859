//! Breakers and governors of the apps: from the metrics they send, and without telemetry from what their
//! logs say of the governors.

use std::collections::{BTreeMap, BTreeSet};

use local_stack::insights::Item;
use serde::Serialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::super::governor::IdentityReport;
use super::board::RECENT;

/// What was measured longer ago is not shown as the present; the apps send every second.
const FRESH: Duration = Duration::seconds(10);
/// The `system` of a breaker.
const DATAVERSE: &str = "Dataverse";

/// Whose value it is: app, instance, metric, and the system or identity.
type Series = (String, String, String, String);

/// The latest of each gauge, and the throttles so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    gauges: BTreeMap<Series, (OffsetDateTime, f64)>,
    /// By app and limit.
    throttles: BTreeMap<(String, String), u64>,
    throttled: BTreeMap<String, OffsetDateTime>,
}

/// One app's view of one system.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    system: String,
    app: String,
    state: &'static str,
    word: String,
    /// Absent where nobody told.
    breaker: Option<&'static str>,
    governor: Option<Governor>,
}

/// All identities of an app together.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Governor {
    allowed: u64,
    in_flight: u64,
    held_back: bool,
    requests: u64,
    throttled: u64,
    /// Throttles by limit.
    limits: BTreeMap<String, u64>,
}

impl Health {
    /// Takes a metric in.
    pub(super) fn take(&mut self, item: &Item) {
        let Some(value) = item.value else { return };
        let role = item.role.clone();
        if item.name == "dvsync.dataverse.throttles" {
            let limit = item.property("limit").unwrap_or("unknown").to_owned();
            *self.throttles.entry((role.clone(), limit)).or_default() += whole(value);
            self.throttled.insert(role, item.at);
            return;
        }
        let of = match item.name.as_str() {
            "dvsync.breaker.state" => item.property("system"),
            "dvsync.dataverse.concurrency"
            | "dvsync.dataverse.in_flight"
            | "dvsync.dataverse.held_back" => item.property("identity"),
            _ => None,
        };
        let Some(of) = of else { return };
        let instance = item.raw["tags"]["ai.cloud.roleInstance"].as_str();
        let instance = instance.unwrap_or_default().to_owned();
        let series = (role, instance, item.name.clone(), of.to_owned());
        self.gauges.insert(series, (item.at, value));
    }

    /// A row for each system and app that calls it, Dataverse first.
    pub(super) fn rows(&self, reports: &[IdentityReport], now: OffsetDateTime) -> Value {
        let breakers = self.gauges.keys();
        let breakers = breakers.filter(|(_, _, name, _)| name == "dvsync.breaker.state");
        let mut known: BTreeSet<(&str, &str)> = breakers
            .map(|(role, _, _, system)| (system.as_str(), role.as_str()))
            .collect();
        known.extend(reports.iter().map(|r| (DATAVERSE, r.app.as_str())));
        let rows = known.into_iter();
        let rows: Vec<Row> = rows
            .map(|(system, app)| self.row(system, app, reports, now))
            .collect();
        json!(rows)
    }

    fn row(&self, system: &str, app: &str, reports: &[IdentityReport], now: OffsetDateTime) -> Row {
        let breaker = self.values(app, "dvsync.breaker.state", Some(system), now);
        let worst = breaker.into_iter().map(whole).max();
        let breaker = worst.map(|state| ["closed", "probing", "open"][(state as usize).min(2)]);
        let governor = (system == DATAVERSE).then(|| self.governor(app, reports, now));
        let throttled = self.throttled.get(app).filter(|at| now - **at < RECENT);
        let held_back = governor.as_ref().is_some_and(|governor| governor.held_back);
        let known_once = self.gauges.keys().any(|(role, ..)| role == app);
        let (state, word) = match breaker {
            Some("open") => ("red", "open"),
            Some("probing") => ("amber", "probing, ramping up"),
            None if known_once => ("amber", "no news"),
            _ if held_back => ("amber", "held back"),
            _ if throttled.is_some() && governor.is_some() => ("amber", "throttled just now"),
            Some(_) => ("green", "closed"),
            None => ("grey", "not told"),
        };
        Row {
            system: system.to_owned(),
            app: app.to_owned(),
            state,
            word: word.to_owned(),
            breaker,
            governor,
        }
    }

    fn governor(&self, app: &str, reports: &[IdentityReport], now: OffsetDateTime) -> Governor {
        let own = || reports.iter().filter(|report| report.app == app);
        let sum = |name: &str| {
            let values = self.values(app, name, None, now);
            let told = !values.is_empty();
            told.then(|| values.into_iter().map(whole).sum::<u64>())
        };
        let gated = |report: &IdentityReport| {
            let until = report.gated_until.as_deref();
            let until = until.and_then(|until| OffsetDateTime::parse(until, &Rfc3339).ok());
            until.is_some_and(|until| until > now)
        };
        let limits = self.throttles.iter().filter(|((role, _), _)| role == app);
        Governor {
            // The log tells of one instance at a time, the metrics of all.
            allowed: sum("dvsync.dataverse.concurrency")
                .unwrap_or_else(|| own().map(|r| u64::from(r.concurrency_limit)).sum()),
            in_flight: sum("dvsync.dataverse.in_flight")
                .unwrap_or_else(|| own().map(|r| u64::from(r.in_flight)).sum()),
            held_back: sum("dvsync.dataverse.held_back").is_some_and(|held| held > 0)
                || own().any(gated),
            requests: own().map(|report| report.requests).sum(),
            throttled: own().map(|report| report.throttled).sum(),
            limits: limits
                .map(|((_, limit), count)| (limit.clone(), *count))
                .collect(),
        }
    }

    /// Fresh values of a gauge in all instances of an app.
    fn values(&self, app: &str, name: &str, of: Option<&str>, now: OffsetDateTime) -> Vec<f64> {
        let own = self.gauges.iter().filter(|((role, _, metric, label), _)| {
            role == app && metric == name && of.is_none_or(|of| of == label)
        });
        let fresh = own.filter(|(_, (at, _))| now - *at < FRESH);
        fresh.map(|(_, (_, value))| *value).collect()
    }
}

/// A count that came as a float.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts are small and not negative
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(role: &str, name: &str, value: f64, dimensions: &Value) -> Item {
        Item::read(json!({"time": "2026-03-02T10:00:00Z",
            "tags": {"ai.cloud.role": role, "ai.cloud.roleInstance": "one"},
            "data": {"baseType": "MetricData", "baseData": {
                "metrics": [{"name": name, "value": value}], "properties": dimensions}}}))
        .unwrap()
    }

    #[test]
    fn an_open_breaker_is_red_and_old_news_are_no_news() {
        let mut health = Health::default();
        let state = |value| {
            metric(
                "outbound-fn",
                "dvsync.breaker.state",
                value,
                &json!({"system": "target"}),
            )
        };
        health.take(&state(0.0));
        let open = state(2.0);
        health.take(&open);
        let now = open.at + Duration::seconds(2);
        let row = &health.rows(&[], now)[0];
        assert_eq!(
            (&row["system"], &row["breaker"], &row["state"]),
            (&json!("target"), &json!("open"), &json!("red"))
        );
        let later = &health.rows(&[], open.at + Duration::seconds(20))[0];
        assert_eq!(
            (&later["breaker"], &later["state"]),
            (&Value::Null, &json!("amber"))
        );
    }

    #[test]
    fn a_governor_is_all_its_identities_and_its_throttles_are_counted_by_limit() {
        let mut health = Health::default();
        for (identity, allowed) in [("app", 8.0), ("second", 4.0)] {
            let of = json!({"identity": identity});
            health.take(&metric(
                "inbound-fn",
                "dvsync.dataverse.concurrency",
                allowed,
                &of,
            ));
            health.take(&metric(
                "inbound-fn",
                "dvsync.dataverse.held_back",
                1.0,
                &of,
            ));
        }
        let of = json!({"identity": "app", "limit": "requests"});
        health.take(&metric(
            "inbound-fn",
            "dvsync.dataverse.throttles",
            2.0,
            &of,
        ));
        health.take(&metric(
            "inbound-fn",
            "dvsync.dataverse.throttles",
            1.0,
            &of,
        ));
        let breaker = json!({"system": "Dataverse"});
        let last = metric("inbound-fn", "dvsync.breaker.state", 0.0, &breaker);
        health.take(&last);
        let row = &health.rows(&[], last.at)[0];
        assert_eq!(row["word"], "held back");
        assert_eq!(row["governor"]["allowed"], 12);
        assert_eq!(row["governor"]["limits"], json!({"requests": 3}));
    }

    #[test]
    fn without_telemetry_the_log_says_how_the_governor_fares_and_nothing_of_breakers() {
        let report = IdentityReport {
            app: "outbound-fn".to_owned(),
            identity: "app".to_owned(),
            concurrency_limit: 8,
            in_flight: 3,
            allowed_requests_per_second: 20.0,
            throttled: 1,
            gated_until: None,
            requests: 9,
        };
        let rows = Health::default().rows(&[report], OffsetDateTime::UNIX_EPOCH);
        let governor = &rows[0]["governor"];
        assert_eq!(
            (&governor["allowed"], &governor["inFlight"]),
            (&json!(8), &json!(3))
        );
        assert_eq!(rows[0]["breaker"], Value::Null);
        assert_eq!(rows[0]["word"], "not told");
    }
}
