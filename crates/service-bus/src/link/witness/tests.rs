//! What the witness makes of the broker's frames.

use super::*;
use crate::error::ErrorClass;
use fe2o3_amqp_types::definitions::{
    Error as AmqpError, ErrorCondition, Handle, ReceiverSettleMode, SenderSettleMode,
};
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Rejected};
use serde::Serialize;
use serde_amqp::primitives::Binary;

const CHANNEL: u16 = 3;
const TOKEN: Uuid = Uuid::from_u128(0xe895_a382_994f_4855_9714_0102_0304_0506);

struct Broker(Arc<Witness>);

impl Broker {
    fn says(&self, performative: &impl Serialize, payload: &[u8]) {
        let mut body = serde_amqp::to_vec(performative).unwrap();
        body.extend(payload);
        let mut frame = u32::try_from(8 + body.len())
            .unwrap()
            .to_be_bytes()
            .to_vec();
        frame.extend([2, 0]);
        frame.extend(CHANNEL.to_be_bytes());
        frame.extend(body);
        self.0.hear(&frame).unwrap();
    }

    fn attaches(&self, name: &str, handle: u32) {
        let attach = Attach {
            name: name.into(),
            handle: Handle(handle),
            role: Role::Sender,
            snd_settle_mode: SenderSettleMode::Unsettled,
            rcv_settle_mode: ReceiverSettleMode::Second,
            source: None,
            target: None,
            unsettled: None,
            incomplete_unsettled: false,
            initial_delivery_count: Some(0),
            max_message_size: None,
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.says(&attach, &[]);
    }

    fn delivers(&self, handle: u32, id: u32, token: Uuid, settled: bool) {
        let transfer = Transfer {
            handle: Handle(handle),
            delivery_id: Some(id),
            delivery_tag: Some(Binary::from(token.to_bytes_le().to_vec())),
            message_format: Some(0),
            settled: Some(settled),
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        };
        self.says(&transfer, b"\x00\x53\x75\xa0\x03abc");
    }

    fn settles(&self, first: u32, last: Option<u32>, state: DeliveryState) {
        let disposition = Disposition {
            role: Role::Sender,
            first,
            last,
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.says(&disposition, &[]);
    }

    fn drains(&self, handle: u32) {
        let flow = Flow {
            next_incoming_id: Some(0),
            incoming_window: 1,
            next_outgoing_id: 1,
            outgoing_window: 1,
            handle: Some(Handle(handle)),
            delivery_count: Some(9),
            link_credit: Some(0),
            available: None,
            drain: true,
            echo: false,
            properties: None,
        };
        self.says(&flow, &[]);
    }
}

fn lock_lost() -> DeliveryState {
    DeliveryState::Rejected(Rejected {
        error: Some(AmqpError::new(
            ErrorCondition::Custom("com.microsoft:message-lock-lost".into()),
            Some("gone".into()),
            None,
        )),
    })
}

fn follow(name: &str) -> (Broker, Follow) {
    let witness = Arc::new(Witness::default());
    let follow = witness.follow(name.into());
    let broker = Broker(witness);
    broker.attaches(name, 0);
    (broker, follow)
}

#[tokio::test]
async fn the_answer_to_a_settlement_reaches_who_waits_for_its_lock_token() {
    let (broker, follow) = follow("r");
    let other = Uuid::from_u128(2);
    broker.delivers(0, 10, TOKEN, false);
    broker.delivers(0, 11, other, false);
    let (first, second) = (follow.settlement(TOKEN), follow.settlement(other));
    broker.settles(10, Some(10), lock_lost());
    broker.settles(11, None, DeliveryState::Accepted(Accepted {}));
    let refused = first.await.unwrap().unwrap_err();
    assert_eq!(refused.class(), ErrorClass::LockLost);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_disposition_may_answer_many() {
    let (broker, follow) = follow("r");
    let tokens: Vec<_> = (1..=5).map(Uuid::from_u128).collect();
    for (id, token) in (20..).zip(&tokens) {
        broker.delivers(0, id, *token, false);
    }
    let waiting: Vec<_> = tokens
        .iter()
        .map(|token| follow.settlement(*token))
        .collect();
    broker.settles(20, Some(24), DeliveryState::Accepted(Accepted {}));
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_drain_tells_how_many_deliveries_came_before_it() {
    let (broker, follow) = follow("r");
    broker.delivers(0, 1, TOKEN, true);
    let drained = follow.drained();
    broker.delivers(0, 2, Uuid::from_u128(2), true);
    broker.drains(0);
    assert_eq!(drained.await.unwrap(), 2);
}

#[test]
fn links_that_nobody_follows_leave_no_trace() {
    let (broker, follow) = follow("r");
    broker.attaches("other", 7);
    broker.delivers(7, 1, TOKEN, false);
    assert!(lock(&broker.0.state).deliveries.is_empty());
    broker.delivers(0, 2, TOKEN, false);
    assert_eq!(lock(&broker.0.state).deliveries.len(), 1);
    drop(follow);
    let state = lock(&broker.0.state);
    assert!(state.deliveries.is_empty() && state.places.is_empty() && state.links.is_empty());
}
