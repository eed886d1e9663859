//! Frames of a client that is written out by hand, for tests and for fuzzing.

use fe2o3_amqp_types::definitions::{
    Handle, ReceiverSettleMode, Role, SenderSettleMode, SequenceNo,
};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::{Attach, Begin, Open, Transfer};
use serde_amqp::primitives::Binary;

pub(super) fn open(max_frame_size: u32) -> Open {
    Open {
        container_id: "peer".into(),
        hostname: None,
        max_frame_size: max_frame_size.into(),
        channel_max: 255.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

pub(super) fn begin(incoming_window: u32) -> Begin {
    Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window,
        outgoing_window: 2_048,
        handle_max: Handle(255),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

/// An attach as the official clients write it for peek-lock.
pub(super) fn attach(handle: u32, role: Role, address: &str) -> Attach {
    let is_sender = role == Role::Sender;
    let node = Some(address.to_owned());
    let own = Some(format!("link-{handle}"));
    let (source, target) = if is_sender { (own, node) } else { (node, own) };
    let source = Source {
        address: source,
        ..Source::default()
    };
    let target = Target {
        address: target,
        ..Target::default()
    };
    Attach {
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
    }
}

/// A whole message's transfer on handle 0.
pub(super) fn transfer(delivery_id: SequenceNo) -> Transfer {
    Transfer {
        handle: Handle(0),
        delivery_id: Some(delivery_id),
        delivery_tag: Some(Binary::from(delivery_id.to_be_bytes().to_vec())),
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}
