//! An in-memory Dataverse, target and pair of queues for tests of the passes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Map, Value, json};
use service_bus::{OutgoingMessage, Properties};
use sync_core::acknowledgement::Acknowledgement;
use sync_core::config::{SyncConfig, TableConfig};
use sync_core::decide::Disposition;
use sync_core::failure::{Failure, Stage};
use sync_core::message::Message;
use sync_core::outbound::{Outbound, OutboundParts};
use sync_core::ports::{Change, Delivery, Queue, Receipt, Source, SystemClock, Target};
use sync_core::snapshot::{Latest, RowVersion, Snapshot};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) const ROW: Uuid = Uuid::from_u128(7);

#[derive(Default)]
pub(crate) struct State {
    /// Name and version of the row; `None` = gone.
    pub(crate) row: Option<(String, i64)>,
    pub(crate) acknowledged: Option<i64>,
    /// Every delivery the target applied: the name, or `None` for a delete.
    pub(crate) target: Vec<Option<String>>,
    pub(crate) fetches: u32,
    pub(crate) looks: u32,
    pub(crate) acknowledgements: Vec<Acknowledgement>,
    pub(crate) outbound_sent: Vec<OutgoingMessage>,
    pub(crate) dead: Vec<(String, String, Properties)>,
    /// Answers of the target, first come first served, before it goes back to success.
    pub(crate) refusals: VecDeque<Failure>,
    /// New names the row gets right after a delivery was applied, one per delivery.
    pub(crate) saved_during_delivery: VecDeque<Option<String>>,
    /// What another instance delivers right after a delivery of ours was applied, one per delivery.
    pub(crate) overwritten_after_delivery: VecDeque<Option<String>>,
    /// The versions deliveries carried.
    pub(crate) versions: Vec<Option<i64>>,
    /// The idempotency keys of all calls.
    pub(crate) keys: Vec<String>,
    pub(crate) inbound_down: bool,
    /// The row that the lookup `parentcustomerid_account` leads to.
    pub(crate) parent: Value,
    /// Why the target is not called at all.
    pub(crate) unavailable: Option<Failure>,
    /// Order of what happened, for the order of effects.
    pub(crate) log: Vec<&'static str>,
    /// The process dies right after this effect: whatever called never hears of it.
    pub(crate) dies_after: Option<&'static str>,
}

#[derive(Clone)]
pub(crate) struct World(pub(crate) Arc<Mutex<State>>);

impl World {
    pub(crate) fn new(name: &str, version: i64) -> Self {
        let row = Some((name.to_owned(), version));
        Self(Arc::new(Mutex::new(State {
            row,
            ..State::default()
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Records an effect, and never returns if it was the last one of this process.
    async fn effect(&self, name: &'static str) {
        let dies = {
            let mut s = self.lock();
            s.log.push(name);
            s.dies_after == Some(name)
        };
        if dies {
            std::future::pending::<()>().await;
        }
    }

    /// Handles a message in a process that dies on the way, and brings the world back up.
    pub(crate) async fn dies(&self, after: &'static str, message: Message) {
        self.lock().dies_after = Some(after);
        let outbound = self.outbound();
        let handling = outbound.handle(message);
        let handled = tokio::time::timeout(Duration::from_secs(50), handling).await;
        assert!(handled.is_err(), "it lived");
        // Dropping the instance ends its flights, as SIGKILL would.
        drop(outbound);
        self.lock().dies_after = None;
    }

    /// The broker delivers a message again whose process died; what becomes of it in the end.
    pub(crate) async fn comes_back(&self, message: Message) -> Disposition {
        let outbound = self.outbound();
        let redelivered = Message {
            delivery_count: 2,
            ..message
        };
        let got = outbound.handle(redelivered.clone()).await.unwrap();
        assert!(matches!(got, Disposition::Reschedule { .. }), "{got:?}");
        let copy = self.lock().outbound_sent.last().cloned().unwrap();
        let copy = Message {
            body: copy.body,
            message_id: copy.message_id.unwrap(),
            properties: copy.properties,
            delivery_count: 1,
            ..redelivered
        };
        outbound.handle(copy).await.unwrap()
    }

    pub(crate) fn outbound(&self) -> Outbound {
        self.outbound_of(include_str!("../../../../sync.json"))
    }

    pub(crate) fn outbound_of(&self, sync_json: &str) -> Outbound {
        let config = SyncConfig::parse(sync_json, "sync.json").unwrap();
        Outbound::new(OutboundParts {
            config: Arc::new(config),
            source: Arc::new(self.clone()),
            target: Arc::new(self.clone()),
            outbound: Arc::new(OutboundQueue(self.clone())),
            inbound: Arc::new(InboundQueue(self.clone())),
            clock: Arc::new(SystemClock),
            rng: Arc::new(Mutex::new(SmallRng::seed_from_u64(1))),
            deadline: Duration::from_secs(60),
        })
    }
}

/// A notification of [`ROW`] as the trigger would hand it over.
pub(crate) fn message(id: &str, version: i64) -> Message {
    let body = json!({"schemaVersion": 1, "notificationId": id, "correlationId": format!("c-{id}"),
        "table": "contact", "sourceRowId": ROW, "operation": "update",
        "occurredAt": "2026-03-02T09:15:30Z", "rowVersion": version.to_string()});
    raw(id, body.to_string())
}

pub(crate) fn raw(id: &str, body: String) -> Message {
    Message {
        body: body.into(),
        message_id: id.to_owned(),
        correlation_id: None,
        lock_token: Uuid::nil(),
        delivery_count: 1,
        enqueued_time: OffsetDateTime::now_utc(),
        session_id: None,
        content_type: None,
        subject: None,
        properties: Properties::new(),
    }
}

#[async_trait]
impl Source for World {
    async fn latest(&self, _: &TableConfig, _: Uuid, _: &str) -> Result<Latest, Failure> {
        let found = {
            let mut s = self.lock();
            s.fetches += 1;
            (s.row.clone(), s.acknowledged)
        };
        let parent = self.lock().parent.clone();
        // What is read was true when the read began: whoever saves now is not in it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (Some((name, version)), acknowledged) = found else {
            return Ok(Latest::Gone);
        };
        let columns: Map<String, Value> = json!({"firstname": name, "lastname": "x",
            "emailaddress1": null, "telephone1": null, "jobtitle": null, "_parentcustomerid_value": null,
            "parentcustomerid_account": parent})
        .as_object()
        .unwrap()
        .clone();
        let acknowledged = acknowledged.map(RowVersion);
        Ok(Latest::Row(Snapshot {
            version: RowVersion(version),
            acknowledged,
            columns,
        }))
    }

    async fn version(
        &self,
        _: &TableConfig,
        _: Uuid,
        _: &str,
    ) -> Result<Option<RowVersion>, Failure> {
        let found = {
            let mut s = self.lock();
            s.looks += 1;
            s.row.as_ref().map(|(_, v)| RowVersion(*v))
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(found)
    }
}

#[async_trait]
impl Target for World {
    fn available(&self) -> Result<(), Failure> {
        self.lock().unavailable.clone().map_or(Ok(()), Err)
    }

    async fn deliver(&self, _: &TableConfig, delivery: &Delivery) -> Result<Receipt, Failure> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        {
            let mut s = self.lock();
            s.keys.push(delivery.idempotency_key());
            if let Some(refusal) = s.refusals.pop_front() {
                return Err(refusal);
            }
            s.target.push(match &delivery.change {
                Change::Upsert(payload) => payload.body["firstName"].as_str().map(str::to_owned),
                Change::Delete(_) => None,
            });
            s.versions.push(delivery.version.map(|v| v.0));
            if let Some(other) = s.overwritten_after_delivery.pop_front() {
                s.target.push(other);
            }
            if let Some(next) = s.saved_during_delivery.pop_front() {
                let version = s.row.as_ref().map_or(1000, |(_, v)| *v) + 1;
                s.row = next.map(|name| (name, version));
            }
        }
        self.effect("deliver").await;
        Ok(Receipt {
            target_row_id: Some("P-1".into()),
        })
    }
}

pub(crate) struct OutboundQueue(World);
pub(crate) struct InboundQueue(World);

fn down() -> service_bus::Error {
    let kind = service_bus::ErrorKind::Connection("down".into());
    service_bus::Error::new("send to", "inbound", kind)
}

#[async_trait]
impl Queue for OutboundQueue {
    async fn send(&self, message: OutgoingMessage) -> Result<(), service_bus::Error> {
        self.0.lock().outbound_sent.push(message);
        self.0.effect("copy").await;
        Ok(())
    }

    async fn dead_letter(
        &self,
        _: Uuid,
        reason: &str,
        description: &str,
        properties: Properties,
    ) -> Result<(), service_bus::Error> {
        let dead = (reason.to_owned(), description.to_owned(), properties);
        self.0.lock().dead.push(dead);
        self.0.effect("dead-letter").await;
        Ok(())
    }
}

#[async_trait]
impl Queue for InboundQueue {
    async fn send(&self, message: OutgoingMessage) -> Result<(), service_bus::Error> {
        if self.0.lock().inbound_down {
            return Err(down());
        }
        let acknowledgement = Acknowledgement::decode(&message.body).unwrap();
        self.0.lock().acknowledgements.push(acknowledgement);
        self.0.effect("acknowledge").await;
        Ok(())
    }

    async fn dead_letter(
        &self,
        _: Uuid,
        _: &str,
        _: &str,
        _: Properties,
    ) -> Result<(), service_bus::Error> {
        unreachable!("outbound-fn settles nothing on the inbound queue")
    }
}

/// A target's answer that may pass.
pub(crate) fn busy() -> Failure {
    Failure::transient(Stage::Deliver, "TargetFailed", "The target failed.").with_status(500)
}

/// A target's answer that will not pass.
pub(crate) fn refused() -> Failure {
    Failure::permanent(Stage::Deliver, "RejectedByTarget", "The target refused.").with_status(422)
}
