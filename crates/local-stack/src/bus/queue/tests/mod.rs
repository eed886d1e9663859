//! The queue's behaviour, told the time by hand.

mod arrival;
mod departures;
mod numbers;
mod quota;
mod session_chaos;
mod sessions;
mod settlement;
mod time_passing;
mod waiting;

use bytes::Bytes;
use serde_amqp::Value;
use serde_amqp::primitives::Binary;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::entry::Entry;
use super::message::{self, Message};
use super::settle::{SettleError, Settlement};
use super::{Queue, SubQueue};
use crate::bus::config::QueueConfig;
use crate::bus::wire::values::{self, Map};
use crate::bus::wire::{delivery, section};

const START: OffsetDateTime = datetime!(2026-01-05 08:00 UTC);
const MAIN: SubQueue = SubQueue::Main;
const DEAD: SubQueue = SubQueue::DeadLetter;

/// A message in the making.
#[derive(Default)]
struct Draft {
    id: Option<&'static str>,
    session: Option<&'static str>,
    ttl_ms: Option<u32>,
    scheduled_for: Option<OffsetDateTime>,
    properties: Vec<(&'static str, Value)>,
    body: &'static [u8],
}

impl Draft {
    fn named(id: &'static str) -> Self {
        Draft {
            id: Some(id),
            ..Draft::default()
        }
    }

    fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        if let Some(ttl) = self.ttl_ms {
            let header = Value::List(vec![Value::Null, Value::Null, Value::Uint(ttl)]);
            bytes.extend(values::section(section::HEADER, header).unwrap());
        }
        if let Some(due) = self.scheduled_for {
            let mut map = Map::new();
            map.insert(
                values::symbol("x-opt-scheduled-enqueue-time"),
                values::timestamp(due),
            );
            bytes.extend(values::section(section::MESSAGE_ANNOTATIONS, Value::Map(map)).unwrap());
        }
        if let Some(id) = self.id {
            let mut fields = vec![Value::String(id.into())];
            if let Some(session) = self.session {
                fields.resize(message::GROUP_ID, Value::Null);
                fields.push(Value::String(session.into()));
            }
            let fields = Value::List(fields);
            bytes.extend(values::section(section::PROPERTIES, fields).unwrap());
        }
        if !self.properties.is_empty() {
            let map = self.properties.iter().cloned();
            let map: Map = map
                .map(|(name, value)| (Value::String(name.into()), value))
                .collect();
            let map = Value::Map(map);
            bytes.extend(values::section(section::APPLICATION_PROPERTIES, map).unwrap());
        }
        let body = Value::Binary(Binary::from(self.body));
        bytes.extend(values::section(section::DATA, body).unwrap());
        Bytes::from(bytes)
    }

    fn message(&self) -> Message {
        Message::parse(&self.encode(), &mut || Uuid::from_u128(0xfeed)).unwrap()
    }
}

/// A queue, the time, and lock tokens that count upwards.
struct Bench {
    queue: Queue,
    now: OffsetDateTime,
    tokens: u128,
}

impl Bench {
    fn new() -> Self {
        Bench::with(|_| {})
    }

    fn with(configure: impl FnOnce(&mut QueueConfig)) -> Self {
        let mut config = QueueConfig::named("q");
        configure(&mut config);
        Bench {
            queue: Queue::new(config),
            now: START,
            tokens: 0,
        }
    }

    /// Moves the clock and lets the queue notice.
    fn wait(&mut self, seconds: i64) {
        self.now += time::Duration::seconds(seconds);
        self.queue.advance(self.now);
    }

    fn send(&mut self, draft: &Draft) -> Option<i64> {
        self.queue.enqueue(draft.message(), self.now)
    }

    fn send_named(&mut self, ids: &[&'static str]) {
        for id in ids {
            self.send(&Draft::named(id));
        }
    }

    fn token(&mut self) -> Uuid {
        self.tokens += 1;
        Uuid::from_u128(self.tokens)
    }

    fn receive_from(&mut self, sub: SubQueue) -> Option<Entry> {
        let token = self.token();
        self.queue.lock_next(sub, token, self.now)
    }

    fn receive(&mut self) -> Option<Entry> {
        self.receive_from(MAIN)
    }

    /// Receives the next message and gives its lock token.
    fn hold(&mut self) -> Uuid {
        self.receive().unwrap().lock.unwrap().token
    }

    fn settle_in(
        &mut self,
        sub: SubQueue,
        token: Uuid,
        settlement: &Settlement,
    ) -> Result<(), SettleError> {
        self.queue.settle(sub, token, settlement, self.now)
    }

    fn settle(&mut self, token: Uuid, settlement: &Settlement) -> Result<(), SettleError> {
        self.settle_in(MAIN, token, settlement)
    }

    fn abandon(&mut self, token: Uuid) {
        self.settle(token, &abandon()).unwrap();
    }

    fn ids(&self, sub: SubQueue) -> Vec<String> {
        self.queue
            .entries(sub)
            .map(|entry| entry.message.id.to_string())
            .collect()
    }
}

fn abandon() -> Settlement {
    Settlement::Abandon {
        properties: Vec::new(),
    }
}

fn defer() -> Settlement {
    Settlement::Defer {
        properties: Vec::new(),
    }
}

fn dead_letter(reason: &str) -> Settlement {
    Settlement::DeadLetter {
        reason: Some(reason.to_owned()),
        description: Some("because".to_owned()),
        properties: Vec::new(),
    }
}

fn id(entry: Option<Entry>) -> Option<String> {
    entry.map(|entry| entry.message.id.to_string())
}

/// An application property of a message, as text or number.
fn property(entry: &Entry, name: &str) -> Option<String> {
    let map = entry.message.application_property_map();
    let value = values::get(&map, name)?;
    values::text(value)
        .map(str::to_owned)
        .or(values::integer(value).map(|n| n.to_string()))
}

/// What a receiver would get for this message.
fn delivered(entry: &Entry) -> section::Sections {
    section::split(&delivery::encode(entry).unwrap()).unwrap()
}
