//! An in-memory row that takes acknowledgements, and an in-memory outbox table.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Map, Value, json};
use service_bus::{OutgoingMessage, Properties};
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::failure::Failure;
use sync_core::inbound::Inbound;
use sync_core::message::Message;
use sync_core::outbox::{Outbox, OutboxRow, Sweeper};
use sync_core::ports::{AckState, AckWrite, Acknowledgements, Queue, SharedRng, SystemClock};
use sync_core::queue::Settler;
use sync_core::snapshot::RowVersion;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

pub(crate) fn rng() -> SharedRng {
    Arc::new(Mutex::new(SmallRng::seed_from_u64(1)))
}

#[derive(Default)]
pub(crate) struct Row {
    pub(crate) gone: bool,
    pub(crate) etag: u32,
    pub(crate) columns: Map<String, Value>,
    pub(crate) writes: u32,
    /// Users save the row between the next so many reads and writes.
    pub(crate) conflicts: u32,
    pub(crate) failures: Vec<Failure>,
    pub(crate) dies_after_write: bool,
    pub(crate) copies: Vec<OutgoingMessage>,
    pub(crate) dead: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Rows(Arc<Mutex<Row>>);

impl Rows {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Row> {
        self.0.lock().unwrap()
    }

    pub(crate) fn inbound(&self) -> Inbound {
        let config = SyncConfig::parse(include_str!("../../../../sync.json"), "sync.json").unwrap();
        let settler = Settler::new(Arc::new(self.clone()), Arc::new(SystemClock), rng());
        let rows = Arc::new(self.clone());
        Inbound::new(
            Arc::new(config),
            rows,
            settler,
            rng(),
            Duration::from_secs(60),
        )
    }
}

/// An acknowledgement as the trigger would hand it over; each processed one second after its version.
pub(crate) fn acknowledgement(version: i64, outcome: &str) -> Message {
    let at = OffsetDateTime::from_unix_timestamp(1_772_000_000 + version).unwrap();
    let body = json!({"schemaVersion": 1, "correlationId": "c-1", "notificationId": "n-1",
        "table": "account", "sourceRowId": Uuid::from_u128(7), "targetSystem": "customer-api",
        "targetRowId": (outcome == "delivered").then_some("C-1"), "outcome": outcome,
        "sourceVersion": version.to_string(), "payloadHash": "ab", "processedAt": at.format(&Rfc3339).unwrap(),
        "error": (outcome == "rejected").then(|| json!({"code": "RejectedByTarget", "stage": "deliver", "message": "Mend it."}))});
    crate::world::raw(&format!("a-{version}"), body.to_string())
}

#[async_trait]
impl Acknowledgements for Rows {
    async fn read(
        &self,
        table: &TableConfig,
        _: Uuid,
        _: &str,
    ) -> Result<Option<AckState>, Failure> {
        let mut row = self.lock();
        if let Some(failure) = row.failures.pop() {
            return Err(failure);
        }
        if row.gone {
            return Ok(None);
        }
        let text = |name: &str| row.columns.get(name).and_then(Value::as_str);
        let state = AckState {
            etag: row.etag.to_string(),
            version: text(&table.ack.version).map(|v| RowVersion(v.parse().unwrap())),
            acknowledged_on: text(&table.ack.acknowledged_on)
                .map(|at| OffsetDateTime::parse(at, &Rfc3339).unwrap()),
        };
        if row.conflicts > 0 {
            row.conflicts -= 1;
            row.etag += 1;
        }
        Ok(Some(state))
    }

    async fn write(
        &self,
        _: &TableConfig,
        _: Uuid,
        etag: &str,
        columns: Map<String, Value>,
        _: &str,
    ) -> Result<AckWrite, Failure> {
        let dies = {
            let mut row = self.lock();
            if row.gone {
                return Ok(AckWrite::Gone);
            }
            if etag != row.etag.to_string() {
                return Ok(AckWrite::Conflict);
            }
            row.columns.extend(columns);
            row.etag += 1;
            row.writes += 1;
            row.dies_after_write
        };
        if dies {
            std::future::pending::<()>().await;
        }
        Ok(AckWrite::Written)
    }
}

#[async_trait]
impl Queue for Rows {
    async fn send(&self, message: OutgoingMessage) -> Result<(), service_bus::Error> {
        self.lock().copies.push(message);
        Ok(())
    }

    async fn dead_letter(
        &self,
        _: Uuid,
        reason: &str,
        _: &str,
        _: Properties,
    ) -> Result<(), service_bus::Error> {
        self.lock().dead.push(reason.to_owned());
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct OutboxState {
    pub(crate) present: bool,
    pub(crate) due: bool,
    pub(crate) etag: u32,
    pub(crate) payload: String,
    pub(crate) sent: Vec<String>,
    pub(crate) queue_down: bool,
    pub(crate) dies_after_send: bool,
    /// What was written when a row was kept: the reason, and whether it comes back by itself.
    pub(crate) kept: Vec<(String, bool)>,
}

#[derive(Clone)]
pub(crate) struct OutboxTable(Arc<Mutex<OutboxState>>);

impl OutboxTable {
    pub(crate) fn new() -> Self {
        let payload = json!({"schemaVersion": 1, "notificationId": "n-1", "correlationId": "c-1",
            "table": "account", "sourceRowId": Uuid::from_u128(7), "operation": "update",
            "occurredAt": "2026-03-02T09:15:30Z"});
        Self(Arc::new(Mutex::new(OutboxState {
            present: true,
            due: true,
            payload: payload.to_string(),
            ..OutboxState::default()
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, OutboxState> {
        self.0.lock().unwrap()
    }

    pub(crate) fn sweeper(&self) -> Sweeper {
        let (outbox, queue) = (Arc::new(self.clone()), Arc::new(self.clone()));
        Sweeper::new(
            outbox,
            queue,
            Arc::new(SystemClock),
            rng(),
            Duration::from_secs(30),
        )
    }

    fn row(&self) -> OutboxRow {
        let state = self.lock();
        OutboxRow {
            id: Uuid::from_u128(9),
            etag: state.etag.to_string(),
            message_id: "n-1".into(),
            correlation_id: "c-1".into(),
            payload: state.payload.clone(),
            attempts: 0,
        }
    }
}

#[async_trait]
impl Outbox for OutboxTable {
    async fn due(&self, _: OffsetDateTime) -> Result<Vec<OutboxRow>, Failure> {
        let due = { self.lock().present && self.lock().due };
        Ok(if due { vec![self.row()] } else { Vec::new() })
    }

    async fn claim(
        &self,
        row: &OutboxRow,
        _: OffsetDateTime,
    ) -> Result<Option<OutboxRow>, Failure> {
        {
            let mut state = self.lock();
            if !state.present || row.etag != state.etag.to_string() {
                return Ok(None);
            }
            state.etag += 1;
            state.due = false;
        }
        Ok(Some(self.row()))
    }

    async fn delete(&self, row: &OutboxRow) -> Result<(), Failure> {
        let mut state = self.lock();
        if row.etag == state.etag.to_string() {
            state.present = false;
        }
        Ok(())
    }

    async fn keep(
        &self,
        _: &OutboxRow,
        reason: &str,
        next: Option<OffsetDateTime>,
    ) -> Result<(), Failure> {
        self.lock().kept.push((reason.to_owned(), next.is_some()));
        Ok(())
    }
}

#[async_trait]
impl Queue for OutboxTable {
    async fn send(&self, message: OutgoingMessage) -> Result<(), service_bus::Error> {
        let dies = {
            let mut state = self.lock();
            if state.queue_down {
                let kind = service_bus::ErrorKind::Connection("down".into());
                return Err(service_bus::Error::new("send to", "outbound", kind));
            }
            state.sent.push(message.message_id.unwrap());
            state.dies_after_send
        };
        if dies {
            std::future::pending::<()>().await;
        }
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
