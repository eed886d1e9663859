//! The protocol engine for fuzzing: bytes as a client would send them. See `fuzz/`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{Handle, ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::{Attach, Begin, Open, Performative, Transfer};
use serde_amqp::primitives::Binary;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::engine::{Engine, MAX_FRAME_SIZE};
use super::entity::system_clock;
use super::hub::Hub;
use crate::bus::config::BrokerConfig;
use crate::bus::queue::waiters::ConsumerId;
use crate::bus::wire::frame::{self, Frame};

/// The nodes a client is attached to when the fuzzed bytes come, both ways each.
const NODES: [&str; 3] = ["q", "q/$management", "$cbs"];

/// Takes the bytes as frames of a connection that is open, in a session with links to all nodes.
pub(crate) fn frames(bytes: &[u8]) {
    let (mut engine, mut woken) = attached();
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = frame::take(&mut input, MAX_FRAME_SIZE as usize) {
        engine.on_frame(frame);
        settle_down(&mut engine, &mut woken);
    }
    engine.leave();
}

/// Sends the bytes behind the first as one message to a node that the first byte chooses.
pub(crate) fn transfer(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else {
        return;
    };
    let (mut engine, mut woken) = attached();
    let batch = (*choice >= 128).then_some(crate::bus::queue::message::BATCH_FORMAT);
    engine.on_frame(Frame::Amqp {
        channel: 0,
        performative: Performative::Transfer(Transfer {
            handle: Handle(u32::from(*choice) % 3 * 2),
            delivery_id: Some(0),
            delivery_tag: Some(Binary::from(vec![0])),
            message_format: batch.or(Some(0)),
            settled: Some(false),
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        }),
        payload: Bytes::copy_from_slice(message),
    });
    settle_down(&mut engine, &mut woken);
    engine.leave();
}

fn attached() -> (Engine, UnboundedReceiver<ConsumerId>) {
    let hub = Hub::new(BrokerConfig::with_queues(["q"]), &system_clock());
    let (wake, mut woken) = unbounded_channel();
    let mut engine = Engine::new(Arc::new(hub), wake);
    let mut links = Vec::new();
    for (handle, node) in (0..).step_by(2).zip(NODES) {
        links.push(attach(handle, Role::Sender, node));
        links.push(attach(handle + 1, Role::Receiver, node));
    }
    for performative in [open(), begin()].into_iter().chain(links) {
        engine.on_frame(Frame::Amqp {
            channel: 0,
            performative,
            payload: Bytes::new(),
        });
    }
    settle_down(&mut engine, &mut woken);
    (engine, woken)
}

/// What the connection's task does between reads.
fn settle_down(engine: &mut Engine, woken: &mut UnboundedReceiver<ConsumerId>) {
    while let Ok(consumer) = woken.try_recv() {
        engine.on_wake(consumer);
    }
    engine.out().clear();
    engine.on_drained();
}

fn open() -> Performative {
    Performative::Open(Open {
        container_id: "fuzz".into(),
        hostname: None,
        max_frame_size: MAX_FRAME_SIZE.into(),
        channel_max: 255.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    })
}

fn begin() -> Performative {
    Performative::Begin(Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: 2_048,
        outgoing_window: 2_048,
        handle_max: Handle(255),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    })
}

fn attach(handle: u32, role: Role, node: &str) -> Performative {
    let address = Some(node.to_owned());
    let is_sender = role == Role::Sender;
    let source = Source {
        address: address.clone(),
        ..Source::default()
    };
    let target = Target {
        address,
        ..Target::default()
    };
    Performative::Attach(Attach {
        name: format!("link-{handle}"),
        handle: Handle(handle),
        role,
        snd_settle_mode: SenderSettleMode::Unsettled,
        rcv_settle_mode: ReceiverSettleMode::Second,
        source: Some(Box::new(source)),
        target: Some(Box::new(TargetArchetype::Target(target))),
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: is_sender.then_some(0),
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    })
}
