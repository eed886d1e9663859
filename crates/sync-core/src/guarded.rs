//! The ports behind circuit breakers.
//!
//! A breaker opens when a system does not answer (transient failures in a row) and when it refuses
//! everything because the app is misconfigured: in both cases one probe at a time finds out when that
//! is over, and the backlog waits without cost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::{KeyValue, global};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use crate::breaker::{Admission, Breaker, BreakerSettings, Change, Health, Permit};
use crate::config::TableConfig;
use crate::failure::{Class, Failure, Stage};
use crate::ports::{AckState, AckWrite, Acknowledgements, Delivery, Receipt, Source, Target};
use crate::snapshot::{Latest, RowVersion};

/// A breaker shared by all calls to one system.
#[derive(Debug, Clone)]
pub struct Guard {
    name: &'static str,
    breaker: Arc<Mutex<Breaker>>,
}

impl Guard {
    /// A closed breaker for the system called `name` in logs.
    #[must_use]
    pub fn new(name: &'static str, settings: BreakerSettings) -> Self {
        let breaker = Arc::new(Mutex::new(Breaker::new(settings)));
        let watched = Arc::downgrade(&breaker);
        global::meter("dataverse-sync")
            .u64_observable_gauge("dvsync.breaker.state")
            .with_callback(move |gauge| {
                if let Some(breaker) = watched.upgrade() {
                    let breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
                    let state = breaker.state(Instant::now());
                    gauge.observe(state, &[KeyValue::new("system", name)]);
                }
            })
            .build();
        Self { name, breaker }
    }

    /// Makes a call if the breaker lets it.
    async fn call<T>(
        &self,
        stage: Stage,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let admission = self.with(|breaker| breaker.admit(Instant::now()));
        let permit = match admission {
            Admission::Pass(permit) => permit,
            Admission::Refuse(retry_after) => return Err(self.down(stage, retry_after)),
        };
        let mut report = Report {
            guard: self,
            permit: Some(permit),
        };
        let result = call.await;
        report.send(result.as_ref().err());
        result
    }

    /// Fails while nothing is tried.
    fn available(&self, stage: Stage) -> Result<(), Failure> {
        match self.with(|breaker| breaker.shut(Instant::now())) {
            Some(retry_after) => Err(self.down(stage, retry_after)),
            None => Ok(()),
        }
    }

    fn down(&self, stage: Stage, retry_after: Duration) -> Failure {
        let text = format!(
            "The {} is known to be down; waiting for it to come back.",
            self.name
        );
        Failure::new(
            Class::TargetDown { retry_after },
            stage,
            "BreakerOpen",
            text,
        )
    }

    fn with<R>(&self, work: impl FnOnce(&mut Breaker) -> R) -> R {
        work(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reports how a call ended, also when it is dropped half-way: a probe nobody reports would keep the
/// breaker shut for ever.
struct Report<'a> {
    guard: &'a Guard,
    permit: Option<Permit>,
}

impl Report<'_> {
    fn send(&mut self, failure: Option<&Failure>) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let health = health(failure);
        let change = self
            .guard
            .with(|breaker| breaker.report(Instant::now(), permit, health));
        let name = self.guard.name;
        match (change, failure) {
            (Some(Change::Opened(length)), Some(failure)) => error!(
                breaker.name = name,
                breaker.open_ms = length.as_millis(),
                failure.code,
                "the {name} is down, nothing is tried for {length:?}: {failure}"
            ),
            (Some(Change::Recovering), _) => {
                info!(
                    breaker.name = name,
                    "the {name} is back; its backlog returns at the configured ramp"
                );
            }
            _ => {}
        }
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let now = Instant::now();
            self.guard
                .with(|breaker| breaker.report(now, permit, Health::Unknown));
        }
    }
}

/// What the end of a call says about the system.
fn health(failure: Option<&Failure>) -> Health {
    match failure.map(|f| (f.class, f.stage)) {
        None | Some((Class::Permanent, _)) => Health::Alive,
        // Also when the credential could not be had: the system itself was not asked, but cannot be
        // called either, and its backlog must wait without counting.
        Some((Class::Transient | Class::Config, _)) => Health::Down,
        // A throttle has a wait of its own.
        Some((Class::Throttled { .. } | Class::TargetDown { .. } | Class::Waiting, _)) => {
            Health::Unknown
        }
    }
}

/// A port behind a breaker.
#[derive(Clone)]
pub struct Guarded<P: ?Sized> {
    guard: Guard,
    port: Arc<P>,
}

impl<P: ?Sized> Guarded<P> {
    /// Puts `port` behind `guard`.
    pub fn new(guard: Guard, port: Arc<P>) -> Self {
        Self { guard, port }
    }
}

#[async_trait]
impl<P: Target + ?Sized> Target for Guarded<P> {
    async fn deliver(&self, table: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        self.guard
            .call(Stage::Deliver, self.port.deliver(table, delivery))
            .await
    }

    fn available(&self) -> Result<(), Failure> {
        self.guard.available(Stage::Deliver)
    }
}

#[async_trait]
impl<P: Source + ?Sized> Source for Guarded<P> {
    async fn latest(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Latest, Failure> {
        self.guard
            .call(Stage::Fetch, self.port.latest(table, row, correlation))
            .await
    }

    async fn version(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<RowVersion>, Failure> {
        self.guard
            .call(Stage::Fetch, self.port.version(table, row, correlation))
            .await
    }
}

#[async_trait]
impl<P: Acknowledgements + ?Sized> Acknowledgements for Guarded<P> {
    async fn read(
        &self,
        table: &TableConfig,
        row: Uuid,
        correlation: &str,
    ) -> Result<Option<AckState>, Failure> {
        self.guard
            .call(Stage::Acknowledge, self.port.read(table, row, correlation))
            .await
    }

    async fn write(
        &self,
        table: &TableConfig,
        row: Uuid,
        etag: &str,
        columns: Map<String, Value>,
        correlation: &str,
    ) -> Result<AckWrite, Failure> {
        let write = self.port.write(table, row, etag, columns, correlation);
        self.guard.call(Stage::Acknowledge, write).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn call(guard: &Guard, class: Option<Class>) -> Result<(), Failure> {
        let failure = class.map(|class| Failure::new(class, Stage::Deliver, "C", "m"));
        guard
            .call(Stage::Deliver, async { failure.map_or(Ok(()), Err) })
            .await
    }

    fn guard() -> Guard {
        Guard::new(
            "target",
            BreakerSettings {
                failures: 2,
                ..BreakerSettings::default()
            },
        )
    }

    fn is_refused(result: &Result<(), Failure>) -> bool {
        matches!(
            result,
            Err(Failure {
                class: Class::TargetDown { .. },
                ..
            })
        )
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_are_refused_or_throttled_do_not_open_it() {
        let guard = guard();
        for class in [
            Class::Permanent,
            Class::Throttled {
                retry_after: Duration::ZERO,
            },
        ] {
            for _ in 0..20 {
                assert!(!is_refused(&call(&guard, Some(class)).await));
            }
        }
        assert!(call(&guard, None).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_is_misconfigured_asks_once_per_spell_instead_of_once_per_message() {
        let guard = guard();
        let _ = call(&guard, Some(Class::Config)).await;
        let _ = call(&guard, Some(Class::Config)).await;
        assert!(is_refused(&call(&guard, None).await));
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert!(call(&guard, None).await.is_ok(), "the probe");
        assert!(call(&guard, None).await.is_ok() || is_refused(&call(&guard, None).await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_half_way_frees_the_probe() {
        let guard = guard();
        let _ = call(&guard, Some(Class::Transient)).await;
        let _ = call(&guard, Some(Class::Transient)).await;
        tokio::time::sleep(Duration::from_secs(16)).await;
        let hanging = guard.call(
            Stage::Deliver,
            std::future::pending::<Result<(), Failure>>(),
        );
        assert!(
            tokio::time::timeout(Duration::from_secs(1), hanging)
                .await
                .is_err()
        );
        assert!(call(&guard, None).await.is_ok());
    }
}
