//! Sessions under random use: whatever is done in whatever order, no message is lost or held twice,
//! each session is one receiver's at a time and in order, and nobody waits for what is there.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::bus::queue::sessions::SessionId;
use crate::bus::queue::waiters::ConsumerId;

const SESSIONS: [&str; 4] = ["a", "b", "c", "d"];
const HOLDERS: u64 = 5;

/// What a receiver believes.
#[derive(Default)]
struct Receiver {
    session: Option<SessionId>,
    tokens: Vec<(Uuid, i64)>,
    /// In line for any session and not told since.
    is_seeking: bool,
}

struct World {
    bench: Bench,
    rng: StdRng,
    receivers: BTreeMap<ConsumerId, Receiver>,
    sent: usize,
    gone: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let bench = Bench::with(|config| {
            config.requires_session = true;
            config.max_delivery_count = 4;
        });
        let receivers = (0..HOLDERS).map(|id| (id, Receiver::default()));
        World {
            bench,
            rng: StdRng::seed_from_u64(seed),
            receivers: receivers.collect(),
            sent: 0,
            gone: 0,
        }
    }

    fn step(&mut self) {
        let who = self.rng.random_range(0..HOLDERS);
        match self.rng.random_range(0..100) {
            0..25 => self.send(),
            25..40 => self.accept(who),
            40..60 => self.receive(who),
            60..80 => self.settle(who),
            80..88 => self.close(who),
            88..92 => self.renew(who),
            _ => {
                let seconds = self.rng.random_range(1..30);
                self.bench.wait(seconds);
            }
        }
        self.notice();
        self.check();
    }

    fn send(&mut self) {
        let session = SESSIONS[self.rng.random_range(0..SESSIONS.len())];
        let is_later = self.rng.random_bool(0.2);
        let due = self.bench.now + time::Duration::seconds(15);
        self.bench.send(&Draft {
            session: Some(session),
            scheduled_for: is_later.then_some(due),
            ..Draft::named("m")
        });
        self.sent += 1;
    }

    fn accept(&mut self, who: ConsumerId) {
        let receiver = self.receivers.get_mut(&who).unwrap();
        if receiver.session.is_some() || receiver.is_seeking {
            return;
        }
        let now = self.bench.now;
        if self.rng.random_bool(0.3) {
            let id = SessionId::from(SESSIONS[self.rng.random_range(0..SESSIONS.len())]);
            if self.bench.queue.accept_session(&id, who, now).is_ok() {
                receiver.session = Some(id);
            }
            return;
        }
        let deadline = now + time::Duration::seconds(40);
        match self.bench.queue.accept_next_session(who, deadline, now) {
            Some((id, _)) => receiver.session = Some(id),
            None => receiver.is_seeking = true,
        }
    }

    fn receive(&mut self, who: ConsumerId) {
        let token = self.bench.token();
        let now = self.bench.now;
        let Some(id) = self.receivers[&who].session.clone() else {
            return;
        };
        let oldest = self
            .bench
            .queue
            .entries(MAIN)
            .find(|entry| entry.is_ready() && entry.message.session.as_deref() == Some(&*id));
        let oldest = oldest.map(|entry| entry.sequence);
        let got = self.bench.queue.next_in_session(&id, who, Some(token), now);
        assert_eq!(got.as_ref().map(|entry| entry.sequence), oldest);
        if let Some(entry) = got {
            let tokens = &mut self.receivers.get_mut(&who).unwrap().tokens;
            tokens.push((token, entry.sequence));
        }
    }

    fn settle(&mut self, who: ConsumerId) {
        let Some((token, _)) = self.receivers.get_mut(&who).unwrap().tokens.pop() else {
            return;
        };
        let settlement = match self.rng.random_range(0..4) {
            0 | 1 => Settlement::Complete,
            2 => abandon(),
            _ => dead_letter("r"),
        };
        self.bench.settle(token, &settlement).unwrap();
        self.gone += usize::from(settlement == Settlement::Complete);
    }

    fn close(&mut self, who: ConsumerId) {
        let receiver = self.receivers.get_mut(&who).unwrap();
        if let Some(id) = receiver.session.take() {
            let now = self.bench.now;
            self.bench.queue.release_session(&id, who, now);
        } else if receiver.is_seeking {
            self.bench.queue.stop_seeking(who);
        }
        *receiver = Receiver::default();
    }

    fn renew(&mut self, who: ConsumerId) {
        if let Some(id) = self.receivers[&who].session.clone() {
            let now = self.bench.now;
            self.bench.queue.renew_session(&id, &[who], now).unwrap();
        }
    }

    /// What the receivers do when they are woken, and what they hear of lost sessions.
    fn notice(&mut self) {
        let now = self.bench.now;
        for who in self.bench.queue.take_woken() {
            let receiver = self.receivers.get_mut(&who).unwrap();
            if receiver.is_seeking {
                // It asks once more, and is in line again if it comes too late.
                let deadline = now + time::Duration::seconds(40);
                if let Some((id, _)) = self.bench.queue.accept_next_session(who, deadline, now) {
                    receiver.session = Some(id);
                    receiver.is_seeking = false;
                }
            }
        }
        for (who, receiver) in &mut self.receivers {
            if let Some(id) = &receiver.session
                && self.bench.queue.session_held(id, &[*who], now).is_err()
            {
                *receiver = Receiver::default();
            }
        }
    }

    fn check(&mut self) {
        let now = self.bench.now;
        let held = self.receivers.values().filter_map(|it| it.session.clone());
        let mut taken = BTreeSet::new();
        for id in held {
            assert!(taken.insert(id.clone()), "{id} is held twice");
        }
        let mut locked = BTreeMap::new();
        for receiver in self.receivers.values() {
            locked.extend(receiver.tokens.iter().copied());
        }
        let mut free = BTreeSet::new();
        for entry in self.bench.queue.entries(MAIN) {
            let id = entry.message.session.clone().unwrap();
            match entry.lock {
                Some(lock) => {
                    assert_eq!(locked.remove(&lock.token), Some(entry.sequence));
                    assert!(taken.contains(&id), "locked outside of a session");
                    assert!(lock.until > now);
                }
                None if entry.is_ready() && !taken.contains(&id) => {
                    free.insert(id);
                }
                None => {}
            }
        }
        assert!(locked.is_empty(), "tokens without messages: {locked:?}");
        let waiting = self.receivers.values().any(|it| it.is_seeking);
        assert!(free.is_empty() || !waiting, "{free:?} wait for nobody");
        let left = self.bench.queue.entries(MAIN).count() + self.bench.queue.entries(DEAD).count();
        assert_eq!(left + self.gone, self.sent);
    }
}

#[test]
fn sessions_stay_whole_whatever_is_done_to_them() {
    let mut gone = 0;
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        gone += world.gone;
    }
    assert!(gone > 0, "nothing was ever completed");
}
