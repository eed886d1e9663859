//! The protocol engine against a peer that is written out frame by frame.

mod failures;
mod faults;
mod links;
mod management;
mod sessions;
mod settlement;
mod timeouts;
mod tokens;
mod topics;
mod transfers;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fe2o3_amqp_types::definitions::{
    Error, Handle, ReceiverSettleMode, Role, SenderSettleMode, SequenceNo,
};
use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::{Attach, Disposition, Flow, Open, Performative, Transfer};
use serde_amqp::Value;
use serde_amqp::primitives::Binary;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use super::engine::{Engine, MAX_FRAME_SIZE};
use super::entity::Clock;
use super::frames::{attach, begin, open, transfer};
use super::hub::Hub;
use crate::bus::config::BrokerConfig;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::wire::frame::{self, Frame};
use crate::bus::wire::section;
use crate::bus::wire::values::{self, Map};

/// A broker without sockets, and its clock.
struct Stage {
    hub: Arc<Hub>,
    now: Arc<Mutex<OffsetDateTime>>,
}

impl Stage {
    fn new() -> Self {
        Stage::with(|_| {})
    }

    /// One queue, `q`, set up by `configure`.
    fn with(configure: impl FnOnce(&mut BrokerConfig)) -> Self {
        let now = Arc::new(Mutex::new(datetime!(2026-01-05 08:00 UTC)));
        let told = Arc::clone(&now);
        let clock: Clock = Arc::new(move || *told.lock().unwrap());
        let mut config = BrokerConfig::with_queues(["q"]);
        configure(&mut config);
        Stage {
            hub: Arc::new(Hub::new(config, &clock, None).unwrap()),
            now,
        }
    }

    fn wait(&self, seconds: i64) {
        *self.now.lock().unwrap() += time::Duration::seconds(seconds);
    }

    /// What the entity's timer does when it rings.
    fn tick(&self) {
        let queue = self.hub.entity("q").unwrap();
        queue.with(|queue, now| queue.advance(now));
    }

    /// A peer with an open connection and a session on channel 0.
    fn peer(&self) -> Peer {
        self.peer_with(MAX_FRAME_SIZE, 2_048)
    }

    fn peer_with(&self, max_frame_size: u32, incoming_window: u32) -> Peer {
        let (wake, woken) = unbounded_channel();
        let mut peer = Peer {
            engine: Engine::new(Arc::clone(&self.hub), wake, None),
            woken,
        };
        peer.send(Performative::Open(open(max_frame_size)));
        peer.send(Performative::Begin(begin(incoming_window)));
        let answers = peer.received();
        assert!(matches!(answers[0], Performative::Open(_)));
        assert!(matches!(answers[1], Performative::Begin(_)));
        peer
    }
}

/// A client that speaks in performatives.
struct Peer {
    engine: Engine,
    woken: UnboundedReceiver<ConsumerId>,
}

impl Peer {
    fn send(&mut self, performative: Performative) {
        self.send_with(performative, Bytes::new());
    }

    fn send_with(&mut self, performative: Performative, payload: Bytes) {
        self.engine.on_frame(Frame::Amqp {
            channel: 0,
            performative,
            payload,
        });
    }

    /// What the broker has sent since the last call, with payloads.
    fn received_with(&mut self) -> Vec<(Performative, Bytes)> {
        // What the connection's task does between reads.
        while let Ok(consumer) = self.woken.try_recv() {
            self.engine.on_wake(consumer);
        }
        let mut frames = Vec::new();
        let mut out = self.engine.out().split();
        while let Some(frame) = frame::take(&mut out, MAX_FRAME_SIZE as usize).unwrap() {
            let Frame::Amqp {
                performative,
                payload,
                ..
            } = frame
            else {
                panic!("{frame:?}")
            };
            frames.push((performative, payload));
        }
        self.engine.on_drained();
        frames
    }

    fn received(&mut self) -> Vec<Performative> {
        self.received_with()
            .into_iter()
            .map(|(performative, _)| performative)
            .collect()
    }

    /// The one frame the broker has sent.
    fn only(&mut self) -> Performative {
        let mut frames = self.received();
        assert_eq!(frames.len(), 1, "{frames:#?}");
        frames.remove(0)
    }

    fn attach_sender(&mut self, handle: u32, address: &str) {
        self.send(Performative::Attach(attach(handle, Role::Sender, address)));
        let answers = self.received();
        assert!(matches!(answers[1], Performative::Flow(_)), "{answers:#?}");
    }

    fn attach_receiver(&mut self, handle: u32, address: &str) {
        self.send(Performative::Attach(attach(
            handle,
            Role::Receiver,
            address,
        )));
        let Performative::Attach(answer) = self.only() else {
            panic!()
        };
        assert!(answer.source.is_some());
    }

    /// Sends a message with this id on handle 0; the broker's verdict.
    fn send_message(&mut self, delivery_id: SequenceNo, id: &str) -> DeliveryState {
        self.send_with(Performative::Transfer(transfer(delivery_id)), message(id));
        self.verdict(delivery_id)
    }

    /// The broker's verdict on a delivery we sent.
    fn verdict(&mut self, delivery_id: SequenceNo) -> DeliveryState {
        let Performative::Disposition(disposition) = self.only() else {
            panic!()
        };
        assert_eq!(disposition.role, Role::Receiver);
        assert_eq!(
            (disposition.first, disposition.settled),
            (delivery_id, true)
        );
        disposition.state.unwrap()
    }

    fn grant(&mut self, handle: u32, delivery_count: SequenceNo, link_credit: u32) {
        self.send(Performative::Flow(Flow {
            handle: Some(Handle(handle)),
            delivery_count: Some(delivery_count),
            link_credit: Some(link_credit),
            ..flow()
        }));
    }

    /// The deliveries that have come: delivery id, lock token, message id.
    fn deliveries(&mut self) -> Vec<(SequenceNo, Uuid, String)> {
        self.received_with()
            .into_iter()
            .map(|(performative, payload)| {
                let Performative::Transfer(transfer) = performative else {
                    panic!("{performative:?}")
                };
                let tag = transfer.delivery_tag.unwrap();
                let token = Uuid::from_slice_le(&tag).unwrap();
                (transfer.delivery_id.unwrap(), token, message_id(&payload))
            })
            .collect()
    }

    /// Settles what was received; the broker's answers.
    fn settle(
        &mut self,
        first: SequenceNo,
        last: Option<SequenceNo>,
        settled: bool,
        state: DeliveryState,
    ) -> Vec<(SequenceNo, Option<SequenceNo>, DeliveryState)> {
        self.send(Performative::Disposition(Disposition {
            role: Role::Receiver,
            first,
            last,
            settled,
            state: Some(state),
            batchable: false,
        }));
        self.received()
            .into_iter()
            .map(|performative| {
                let Performative::Disposition(answer) = performative else {
                    panic!("{performative:?}")
                };
                assert_eq!((answer.role, answer.settled), (Role::Sender, true));
                (answer.first, answer.last, answer.state.unwrap())
            })
            .collect()
    }
}

/// A session's flow from a peer that has seen nothing yet.
fn flow() -> Flow {
    Flow {
        next_incoming_id: Some(0),
        incoming_window: 2_048,
        next_outgoing_id: 0,
        outgoing_window: 2_048,
        handle: None,
        delivery_count: None,
        link_credit: None,
        available: None,
        drain: false,
        echo: false,
        properties: None,
    }
}

fn message(id: &str) -> Bytes {
    message_with_body(id, b"body")
}

fn message_with_body(id: &str, body: &[u8]) -> Bytes {
    let fields = Value::List(vec![Value::String(id.to_owned())]);
    let mut bytes = values::section(section::PROPERTIES, fields).unwrap();
    let body = Value::Binary(Binary::from(body.to_vec()));
    bytes.extend(values::section(section::DATA, body).unwrap());
    Bytes::from(bytes)
}

fn message_id(message: &Bytes) -> String {
    let sections = section::split(message).unwrap();
    let Value::List(fields) = values::section_value(&sections.properties).unwrap() else {
        panic!()
    };
    values::text(&fields[0]).unwrap().to_owned()
}

fn condition(error: &Error) -> String {
    let condition = serde_amqp::to_value(&error.condition).unwrap();
    values::text(&condition).unwrap().to_owned()
}

/// A rejected outcome's condition.
fn rejection(state: &DeliveryState) -> String {
    match state {
        DeliveryState::Rejected(rejected) => condition(rejected.error.as_ref().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn map(members: impl IntoIterator<Item = (&'static str, Value)>) -> Map {
    members
        .into_iter()
        .map(|(name, value)| (Value::String(name.into()), value))
        .collect()
}
