//! How the client fares, told: what each identity may do, and what merging is worth. The one place that
//! turns the counters into events; units are in the fields' names.
//!
//! An app's log is the only way out of its process, so these are ordinary `info` events, told seldom
//! and only when something moved.

use std::time::Duration;

use opentelemetry::{KeyValue, global};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;
use tracing::info;

use super::client::DataverseClient;
use super::identities::IdentitySnapshot;
use super::merge::PageTotals;

/// Target of the events about identities, one event for each.
pub const GOVERNOR: &str = "dataverse.governor";
/// Target of the events about merging.
pub const MERGING: &str = "dataverse.merging";

/// A storm of throttles is told this often at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    identities: Vec<IdentitySnapshot>,
    pages: PageTotals,
}

impl DataverseClient {
    /// Lets whatever exports metrics look at the identities.
    pub fn observe(&self) {
        let meter = global::meter("dataverse-sync");
        let measured = |name, value: fn(&IdentitySnapshot) -> u64| {
            let client = self.clone();
            meter
                .u64_observable_gauge(name)
                .with_callback(move |o| client.each_identity(|i, of| o.observe(value(i), of)))
                .build();
        };
        measured("dvsync.dataverse.concurrency", |i| i.at_a_time.into());
        measured("dvsync.dataverse.in_flight", |i| i.in_flight.into());
        measured("dvsync.dataverse.held_back", |i| {
            u64::from(!i.gated_for.is_zero())
        });
    }

    fn each_identity(&self, look: impl Fn(&IdentitySnapshot, &[KeyValue])) {
        for identity in self.identities() {
            let label = KeyValue::new("identity", identity.label.to_string());
            look(&identity, &[label]);
        }
    }

    /// Tells for ever: every so often, and as soon as a throttle changed what an identity may do. Says
    /// nothing while nothing is sent.
    pub async fn report(self, every: Duration) {
        let mut told = Told::default();
        loop {
            tokio::select! {
                () = sleep(every) => {}
                () = self.identities_changed() => {}
            }
            told.tell(self.identities(), self.page_totals());
            sleep(SHORTEST_PAUSE.min(every)).await;
        }
    }
}

impl Told {
    fn tell(&mut self, identities: Vec<IdentitySnapshot>, pages: PageTotals) {
        let now = OffsetDateTime::now_utc();
        for (index, identity) in identities.iter().enumerate() {
            // How long a gate still holds, and what may be sent a second, change with time alone.
            let same = |told: &IdentitySnapshot| {
                (
                    told.requests,
                    told.throttled,
                    told.in_flight,
                    told.at_a_time,
                ) == (
                    identity.requests,
                    identity.throttled,
                    identity.in_flight,
                    identity.at_a_time,
                )
            };
            let told = self.identities.get(index);
            if identity.requests > 0 && !told.is_some_and(same) {
                governor(identity, now);
            }
        }
        if pages != self.pages {
            merging(pages);
        }
        *self = Self { identities, pages };
    }
}

fn governor(identity: &IdentitySnapshot, now: OffsetDateTime) {
    let gated = !identity.gated_for.is_zero();
    let until = gated
        .then(|| (now + identity.gated_for).format(&Rfc3339).ok())
        .flatten();
    let stays_away = if gated {
        format!(
            ", and is to stay away for {} ms",
            identity.gated_for.as_millis()
        )
    } else {
        String::new()
    };
    info!(
        target: GOVERNOR,
        {
            governor.process_id = std::process::id(),
            governor.identity = &*identity.label,
            governor.concurrency_limit = identity.at_a_time,
            governor.in_flight = identity.in_flight,
            governor.allowed_requests_per_second = identity.per_second,
            governor.gated_until = until,
            governor.requests_total = identity.requests,
            governor.throttled_total = identity.throttled,
        },
        "Dataverse identity {} may have {} requests under way, has {}, was throttled {} times in {}{stays_away}",
        identity.label,
        identity.at_a_time,
        identity.in_flight,
        identity.throttled,
        identity.requests,
    );
}

fn merging(pages: PageTotals) {
    let mean = pages.mean_rows().unwrap_or_default();
    info!(
        target: MERGING,
        {
            merging.process_id = std::process::id(),
            merging.pages_total = pages.pages,
            merging.rows_total = pages.rows,
            merging.mean_page_rows = mean,
        },
        "{} rows travelled to and from Dataverse in {} requests, {mean:.1} on average",
        pages.rows,
        pages.pages,
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn told(work: impl FnOnce()) -> Vec<serde_json::Value> {
        let (lines, writer) = {
            let lines = Lines::default();
            (lines.clone(), move || lines.clone())
        };
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn snapshot() -> IdentitySnapshot {
        IdentitySnapshot {
            label: "app".into(),
            at_a_time: 4,
            in_flight: 1,
            per_second: 19.5,
            gated_for: Duration::from_secs(7),
            requests: 12,
            throttled: 2,
        }
    }

    #[test]
    fn an_identity_is_told_of_once_until_something_moves() {
        let pages = PageTotals { pages: 2, rows: 30 };
        let lines = told(|| {
            let mut told = Told::default();
            told.tell(vec![snapshot()], pages);
            let later = IdentitySnapshot {
                gated_for: Duration::from_secs(6),
                ..snapshot()
            };
            told.tell(vec![later.clone()], pages);
            told.tell(
                vec![IdentitySnapshot {
                    gated_for: Duration::ZERO,
                    requests: 13,
                    ..later
                }],
                pages,
            );
        });
        let [throttled, merged, free] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(throttled["target"], GOVERNOR);
        assert_eq!(throttled["governor.identity"], "app");
        assert_eq!(throttled["governor.concurrency_limit"], 4);
        assert_eq!(throttled["governor.allowed_requests_per_second"], 19.5);
        assert_eq!(throttled["governor.throttled_total"], 2);
        let until = throttled["governor.gated_until"].as_str().unwrap();
        assert!(OffsetDateTime::parse(until, &Rfc3339).is_ok());
        assert_eq!(merged["target"], MERGING);
        assert_eq!(merged["merging.mean_page_rows"], 15.0);
        assert_eq!(free["governor.requests_total"], 13);
        assert_eq!(free.get("governor.gated_until"), None);
    }

    #[test]
    fn an_idle_client_says_nothing() {
        let idle = IdentitySnapshot {
            requests: 0,
            ..snapshot()
        };
        assert!(told(|| Told::default().tell(vec![idle], PageTotals::default())).is_empty());
    }
}
