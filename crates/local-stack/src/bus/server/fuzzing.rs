//! The protocol engine for fuzzing: bytes as a client would send them. See `fuzz/`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::performatives::{Performative, Transfer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::engine::{Engine, MAX_FRAME_SIZE};
use super::entity::system_clock;
use super::frames;
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
            message_format: batch.or(Some(0)),
            ..frames::transfer(0)
        }),
        payload: Bytes::copy_from_slice(message),
    });
    settle_down(&mut engine, &mut woken);
    engine.leave();
}

#[expect(clippy::expect_used, reason = "a fuzz target may panic")]
fn attached() -> (Engine, UnboundedReceiver<ConsumerId>) {
    let hub = Hub::new(BrokerConfig::with_queues(["q"]), &system_clock(), None)
        .expect("without data nothing can be wrong with it");
    let (wake, mut woken) = unbounded_channel();
    let mut engine = Engine::new(Arc::new(hub), wake, None);
    let opening = [
        Performative::Open(frames::open(MAX_FRAME_SIZE)),
        Performative::Begin(frames::begin(2_048)),
    ];
    let mut links = Vec::new();
    for (handle, node) in (0..).step_by(2).zip(NODES) {
        links.push(Performative::Attach(frames::attach(
            handle,
            Role::Sender,
            node,
        )));
        let receiver = frames::attach(handle + 1, Role::Receiver, node);
        links.push(Performative::Attach(receiver));
    }
    for performative in opening.into_iter().chain(links) {
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
