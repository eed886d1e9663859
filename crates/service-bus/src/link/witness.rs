//! Hears what the AMQP library keeps to itself.
//!
//! Two answers of the broker matter to a receiver, and the library passes on neither: what became of
//! a settlement (it may be refused because the lock is gone), and that a link has been drained. The
//! connection's incoming bytes are ours before they are the library's, so a [`Witness`] reads the
//! few frames it needs on the way. It changes nothing: what it cannot read it passes over, and a
//! [`Guard`] refuses what the library must not see.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fe2o3_amqp_types::definitions::Role;
use fe2o3_amqp_types::performatives::{Attach, Disposition, Flow, Transfer};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::frames::{Frame, FrameScanner};
use super::guard::{Guard, Passed, Refused};
use crate::error::ErrorKind;
use crate::sync::lock;
use crate::wire::{failure, incoming};

/// What became of a settlement.
pub(crate) type Settled = oneshot::Receiver<Result<(), ErrorKind>>;

/// A link's end at the broker: its channel and handle.
type Place = (u16, u32);

/// Listens to one connection.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    scanner: FrameScanner,
    guard: Guard,
    /// Bytes heard so far.
    heard: u64,
    /// The links that somebody follows, by name.
    links: HashMap<String, Link>,
    /// Where they are.
    places: HashMap<Place, String>,
    /// Unsettled deliveries on them, by channel and delivery id.
    deliveries: HashMap<(u16, u32), Uuid>,
    /// Who waits for what became of a settlement, by lock token.
    settlements: HashMap<Uuid, oneshot::Sender<Result<(), ErrorKind>>>,
}

#[derive(Debug, Default)]
struct Link {
    /// Whole deliveries so far.
    delivered: u64,
    drain: Option<oneshot::Sender<u64>>,
}

impl Witness {
    /// Takes bytes that came from the broker.
    ///
    /// # Errors
    /// When the library must not have them. Nothing more can be heard then.
    pub(crate) fn hear(&self, bytes: &[u8]) -> Result<(), Refused> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        state.heard += bytes.len() as u64;
        let mut scanner = std::mem::take(&mut state.scanner);
        let heard = scanner.feed(bytes, |frame| state.on_frame(&frame));
        state.scanner = scanner;
        heard
    }

    /// How many bytes came so far. Unchanged over a while means a silent broker.
    pub(crate) fn heard(&self) -> u64 {
        lock(&self.state).heard
    }

    /// Follows the link of this name, which is yet to be attached.
    pub(crate) fn follow(self: &Arc<Self>, name: String) -> Follow {
        lock(&self.state)
            .links
            .insert(name.clone(), Link::default());
        Follow {
            witness: self.clone(),
            name,
        }
    }
}

impl State {
    fn on_frame(&mut self, frame: &Frame<'_>) -> Result<(), Refused> {
        let (channel, body) = (frame.channel, frame.body);
        match self.guard.check(frame)? {
            Passed::Transfer(transfer) => self.on_transfer(channel, *transfer),
            Passed::Performative(0x12) => self.on_attach(channel, body),
            Passed::Performative(0x13) => self.on_flow(channel, body),
            Passed::Performative(0x15) => self.on_disposition(channel, body),
            Passed::Performative(0x16 | 0x17) => self.on_end(channel),
            Passed::Performative(_) | Passed::Other => {}
        }
        Ok(())
    }

    fn on_attach(&mut self, channel: u16, body: &[u8]) {
        let Ok(attach) = serde_amqp::from_slice::<Attach>(body) else {
            return;
        };
        if self.links.contains_key(&attach.name) {
            self.places.insert((channel, attach.handle.0), attach.name);
        }
    }

    fn on_flow(&mut self, channel: u16, body: &[u8]) {
        // Without anybody who drains, the flows of busy senders are not worth decoding.
        if self.links.values().all(|link| link.drain.is_none()) {
            return;
        }
        let Ok(flow) = serde_amqp::from_slice::<Flow>(body) else {
            return;
        };
        let (Some(handle), true) = (flow.handle, flow.drain) else {
            return;
        };
        let Some(link) = self.link_at((channel, handle.0)) else {
            return;
        };
        if let Some(drain) = link.drain.take() {
            let _ = drain.send(link.delivered);
        }
    }

    fn on_transfer(&mut self, channel: u16, transfer: Transfer) {
        let Some(link) = self.link_at((channel, transfer.handle.0)) else {
            return;
        };
        if !transfer.more && !transfer.aborted {
            link.delivered += 1;
        }
        // Only the first transfer of a delivery has id and tag.
        let (Some(id), Some(tag)) = (transfer.delivery_id, transfer.delivery_tag) else {
            return;
        };
        if let (false, Some(token)) = (
            transfer.settled.unwrap_or(false),
            incoming::lock_token(&tag),
        ) {
            self.deliveries.insert((channel, id), token);
        }
    }

    fn on_disposition(&mut self, channel: u16, body: &[u8]) {
        if self.deliveries.is_empty() {
            return;
        }
        let Ok(disposition) = serde_amqp::from_slice::<Disposition>(body) else {
            return;
        };
        if disposition.role != Role::Sender || !disposition.settled {
            return;
        }
        for id in disposition.first..=disposition.last.unwrap_or(disposition.first) {
            let Some(token) = self.deliveries.remove(&(channel, id)) else {
                continue;
            };
            if let Some(waiting) = self.settlements.remove(&token) {
                let _ = waiting.send(failure::of_settlement(disposition.state.clone()));
            }
        }
    }

    /// A detach or an end: whoever waits for an answer on this channel waits in vain.
    fn on_end(&mut self, channel: u16) {
        let over = self.deliveries.extract_if(|(on, _), _| *on == channel);
        for (_, token) in over {
            self.settlements.remove(&token);
        }
    }

    fn link_at(&mut self, place: Place) -> Option<&mut Link> {
        self.links.get_mut(self.places.get(&place)?)
    }
}

/// A link that is followed until this is dropped.
#[derive(Debug)]
pub(crate) struct Follow {
    witness: Arc<Witness>,
    name: String,
}

impl Follow {
    /// The broker's answer to the settlement of this lock token. Ask before sending the settlement.
    pub(crate) fn settlement(&self, lock_token: Uuid) -> Settled {
        let (sender, receiver) = oneshot::channel();
        lock(&self.witness.state)
            .settlements
            .insert(lock_token, sender);
        receiver
    }

    /// No longer waits for the answer to a settlement.
    pub(crate) fn forget(&self, lock_token: Uuid) {
        lock(&self.witness.state).settlements.remove(&lock_token);
    }

    /// The broker's answer to a drain: how many deliveries the link has had when it had sent all.
    /// Ask before draining. The library may not have handed out all of them yet.
    pub(crate) fn drained(&self) -> oneshot::Receiver<u64> {
        let (sender, receiver) = oneshot::channel();
        if let Some(link) = lock(&self.witness.state).links.get_mut(&self.name) {
            link.drain = Some(sender);
        }
        receiver
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut state = lock(&self.witness.state);
        state.links.remove(&self.name);
        let places: Vec<Place> = state
            .places
            .iter()
            .filter_map(|(place, name)| (*name == self.name).then_some(*place))
            .collect();
        for place in places {
            state.places.remove(&place);
            // Each link we follow has a session, and so a channel, of its own.
            state
                .deliveries
                .retain(|(channel, _), _| *channel != place.0);
        }
    }
}

#[cfg(test)]
mod tests;
