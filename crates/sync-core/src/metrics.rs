//! What is counted and measured, by name. Without an exporter all of it does nothing.
//!
//! Attributes have few values each, whatever the rows hold: tables, targets, stages, codes.

use std::sync::OnceLock;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

use crate::decide::Disposition;
use crate::failure::Failure;
use crate::trace;

/// Which queue a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Outbound,
    Inbound,
}

impl Direction {
    fn attribute(self) -> KeyValue {
        let name = match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        };
        KeyValue::new("direction", name)
    }
}

/// The instruments.
pub(crate) struct Metrics {
    received: Counter<u64>,
    messages: Counter<u64>,
    retries: Counter<u64>,
    dead_letters: Counter<u64>,
    coalesced: Counter<u64>,
    deliveries: Counter<u64>,
    acknowledged: Counter<u64>,
    lag_delivered: Histogram<f64>,
    lag_acknowledged: Histogram<f64>,
    pub(crate) page_rows: Histogram<u64>,
    dataverse_requests: Counter<u64>,
    dataverse_throttles: Counter<u64>,
    pub(crate) swept: Counter<u64>,
    pub(crate) fetched: Counter<u64>,
}

/// The process's instruments. First used when the app is set up, and its exporter with it.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| {
        let meter = global::meter("dataverse-sync");
        let counter = |name| meter.u64_counter(name).build();
        let seconds = |name| meter.f64_histogram(name).with_unit("s").build();
        Metrics {
            received: counter("dvsync.messages.received"),
            messages: counter("dvsync.messages"),
            retries: counter("dvsync.retries"),
            dead_letters: counter("dvsync.dead_letters"),
            coalesced: counter("dvsync.coalesced"),
            deliveries: counter("dvsync.deliveries"),
            acknowledged: counter("dvsync.acknowledged"),
            lag_delivered: seconds("dvsync.lag.delivered_seconds"),
            lag_acknowledged: seconds("dvsync.lag.acknowledged_seconds"),
            page_rows: meter.u64_histogram("dvsync.dataverse.page_rows").build(),
            dataverse_requests: counter("dvsync.dataverse.requests"),
            dataverse_throttles: counter("dvsync.dataverse.throttles"),
            swept: counter("dvsync.outbox.swept"),
            fetched: counter("dvsync.credentials.fetched"),
        }
    })
}

/// What a message was about, as far as that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) table: &'a str,
    pub(crate) target: &'a str,
}

impl About<'_> {
    fn attributes(self) -> [KeyValue; 2] {
        [
            KeyValue::new("table", self.table.to_owned()),
            KeyValue::new("target", self.target.to_owned()),
        ]
    }
}

impl Metrics {
    pub(crate) fn received(&self, direction: Direction) {
        self.received.add(1, &[direction.attribute()]);
    }

    /// A message whose disposition was carried out, or could not be (`None`).
    pub(crate) fn settled(
        &self,
        direction: Direction,
        about: About<'_>,
        disposition: Option<&Disposition>,
        outcome: Result<&'static str, &Failure>,
    ) {
        let [table, target] = about.attributes();
        let mut attributes = vec![
            direction.attribute(),
            table.clone(),
            target,
            KeyValue::new("disposition", name(disposition)),
        ];
        if let Ok(outcome) = outcome {
            attributes.push(KeyValue::new("outcome", outcome));
        }
        self.messages.add(1, &attributes);
        let Err(failure) = outcome else { return };
        let stage = KeyValue::new("stage", failure.stage.as_str());
        let code = KeyValue::new("code", failure.code);
        match disposition {
            Some(Disposition::Reschedule { counts, .. }) => {
                let class = KeyValue::new("class", trace::class(failure));
                let counted = KeyValue::new("counted", *counts);
                self.retries
                    .add(1, &[direction.attribute(), class, stage, code, counted]);
            }
            Some(Disposition::DeadLetter { reason, .. }) => {
                let reason = KeyValue::new("reason", *reason);
                self.dead_letters
                    .add(1, &[direction.attribute(), table, reason, stage, code]);
            }
            _ => {}
        }
    }

    /// A flight that delivered, for all that joined it.
    pub(crate) fn delivered(&self, about: About<'_>, calls: u32, coalesced: usize) {
        let attributes = about.attributes();
        self.deliveries.add(u64::from(calls), &attributes);
        if coalesced > 0 {
            self.coalesced.add(coalesced as u64, &attributes);
        }
    }

    /// A request to Dataverse that ended, and the service protection limit that refused it.
    pub(crate) fn dataverse_request(
        &self,
        identity: &str,
        result: &'static str,
        limit: Option<&'static str>,
    ) {
        let identity = KeyValue::new("identity", identity.to_owned());
        let result = KeyValue::new("result", result);
        self.dataverse_requests.add(1, &[identity.clone(), result]);
        if let Some(limit) = limit {
            let limit = KeyValue::new("limit", limit);
            self.dataverse_throttles.add(1, &[identity, limit]);
        }
    }

    pub(crate) fn lag_delivered(&self, about: About<'_>, lag: time::Duration) {
        self.lag_delivered
            .record(lag.as_seconds_f64().max(0.0), &about.attributes());
    }

    pub(crate) fn acknowledged(
        &self,
        about: About<'_>,
        lag: time::Duration,
        objective: std::time::Duration,
    ) {
        let [table, target] = about.attributes();
        let attributes = [table, target];
        self.lag_acknowledged
            .record(lag.as_seconds_f64().max(0.0), &attributes);
        let [table, target] = attributes;
        let within = KeyValue::new("within_objective", lag <= objective);
        self.acknowledged.add(1, &[table, target, within]);
    }
}

/// What became of a message; `None` when its disposition could not be carried out.
pub(crate) fn name(disposition: Option<&Disposition>) -> &'static str {
    match disposition {
        Some(Disposition::Complete) => "completed",
        Some(Disposition::Reschedule { .. }) => "rescheduled",
        Some(Disposition::DeadLetter { .. }) => "dead_lettered",
        None => "left_to_broker",
    }
}
