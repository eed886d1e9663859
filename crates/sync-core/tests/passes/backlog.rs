//! The sweep of an outbox that filled up while the bus was out of reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use service_bus::{OutgoingMessage, Properties};
use sync_core::failure::Failure;
use sync_core::outbox::{Outbox, OutboxRow, Sweeper};
use sync_core::ports::{Queue, SystemClock};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::rows::rng;

#[derive(Default)]
struct State {
    /// What is left, with whether it is claimed.
    rows: BTreeMap<Uuid, bool>,
    sent: u32,
    /// The queue takes so many more messages.
    takes: u32,
    kept: u32,
}

/// Rows whose every claim takes a second.
#[derive(Clone)]
struct Backlog(Arc<Mutex<State>>);

impl Backlog {
    fn of(rows: u128) -> Self {
        let rows = (1..=rows).map(|id| (Uuid::from_u128(id), false)).collect();
        Self(Arc::new(Mutex::new(State {
            rows,
            takes: u32::MAX,
            ..State::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn sweeper(&self) -> Sweeper {
        let (outbox, queue) = (Arc::new(self.clone()), Arc::new(self.clone()));
        let lease = Duration::from_secs(30);
        Sweeper::new(outbox, queue, Arc::new(SystemClock), rng(), lease)
    }
}

#[async_trait]
impl Outbox for Backlog {
    async fn due(&self, _: OffsetDateTime) -> Result<Vec<OutboxRow>, Failure> {
        let row = |id: &Uuid| OutboxRow {
            id: *id,
            etag: "W/\"1\"".into(),
            message_id: format!("n-{id}"),
            correlation_id: format!("c-{id}"),
            payload: json!({"schemaVersion": 1, "notificationId": id, "correlationId": id,
                "table": "account", "sourceRowId": id, "operation": "update",
                "occurredAt": "2026-03-02T09:15:30Z"})
            .to_string(),
            attempts: 0,
        };
        let state = self.lock();
        let free = state.rows.iter().filter(|(_, claimed)| !**claimed);
        Ok(free.map(|(id, _)| row(id)).take(100).collect())
    }

    async fn claim(
        &self,
        row: &OutboxRow,
        _: OffsetDateTime,
    ) -> Result<Option<OutboxRow>, Failure> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.lock().rows.insert(row.id, true);
        Ok(Some(row.clone()))
    }

    async fn delete(&self, row: &OutboxRow) -> Result<(), Failure> {
        self.lock().rows.remove(&row.id);
        Ok(())
    }

    async fn keep(&self, _: &OutboxRow, _: &str, _: Option<OffsetDateTime>) -> Result<(), Failure> {
        self.lock().kept += 1;
        Ok(())
    }
}

#[async_trait]
impl Queue for Backlog {
    async fn send(&self, _: OutgoingMessage) -> Result<(), service_bus::Error> {
        let mut state = self.lock();
        if state.takes == 0 {
            let kind = service_bus::ErrorKind::Connection("down".into());
            return Err(service_bus::Error::new("send to", "outbound", kind));
        }
        state.takes -= 1;
        state.sent += 1;
        Ok(())
    }

    async fn dead_letter(
        &self,
        _: Uuid,
        _: &str,
        _: &str,
        _: Properties,
    ) -> Result<(), service_bus::Error> {
        unreachable!("the sweep dead-letters nothing")
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_worked_on_many_rows_at_a_time() {
    let backlog = Backlog::of(1000);
    // One after another, a thousand rows would take a thousand seconds; a sweep has sixty.
    let swept = backlog.sweeper().sweep().await.unwrap();
    assert_eq!((swept.sent, swept.kept), (1000, 0));
    assert!(backlog.lock().rows.is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_the_queue_goes_down_rows_that_wait_their_turn_are_left_alone() {
    let backlog = Backlog::of(100);
    backlog.lock().takes = 10;
    let swept = backlog.sweeper().sweep().await.unwrap();
    assert_eq!(swept.sent, 10);
    let state = backlog.lock();
    assert_eq!(u32::try_from(state.rows.len()).unwrap(), 90);
    let untouched = state.rows.values().filter(|claimed| !**claimed).count();
    assert!(untouched > 0, "every row was claimed");
    assert_eq!(swept.kept, state.kept);
}
