//! The book-keeping behind the identities: queues, turns, timers. Nothing here waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::governor::{Governor, Lesson, Ready};
use super::{Kind, Permit, RequestLimit};

/// How a waiter learns that it may go, or for how long nobody may.
pub(super) type Grant = oneshot::Sender<Result<Permit, Duration>>;

/// How one identity fares.
#[derive(Debug, Clone, PartialEq)]
pub struct IdentitySnapshot {
    /// Whose requests these are: a client id, or `app` for the app's own identity.
    pub label: Arc<str>,
    /// Requests it may have under way.
    pub at_a_time: u32,
    /// Requests it has under way.
    pub in_flight: u32,
    /// Requests per second it spreads its load to, beyond a small burst.
    pub per_second: f64,
    /// How long it still stays away because a `Retry-After` asked for it.
    pub gated_for: Duration,
    /// Requests sent so far.
    pub requests: u64,
    /// Of these, refused by a service protection limit.
    pub throttled: u64,
}

#[derive(Debug)]
pub(super) struct State {
    governors: Vec<Governor>,
    labels: Vec<Arc<str>>,
    reads: VecDeque<Grant>,
    writes: VecDeque<Grant>,
    turn: Kind,
    /// When a task that is under way looks again.
    timer: Option<Instant>,
}

/// What to do next, outside the lock.
pub(super) enum Next {
    /// Let this waiter go with this identity.
    Grant(Grant, usize, Instant),
    /// Look again then.
    At(Instant),
    Nothing,
}

impl State {
    pub(super) fn new(labels: Vec<Arc<str>>, limit: RequestLimit, now: Instant) -> Self {
        Self {
            governors: labels.iter().map(|_| Governor::new(limit, now)).collect(),
            labels,
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            turn: Kind::Read,
            timer: None,
        }
    }

    pub(super) fn label(&self, identity: usize) -> Arc<str> {
        self.labels.get(identity).cloned().unwrap_or_default()
    }

    pub(super) fn wait(&mut self, kind: Kind, grant: Grant) {
        self.queue(kind).push_back(grant);
    }

    fn queue(&mut self, kind: Kind) -> &mut VecDeque<Grant> {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }

    /// How long every identity has to stay away.
    pub(super) fn closed_for(&self, now: Instant) -> Duration {
        let gates = self.governors.iter().map(|g| g.gated_for(now));
        gates.min().unwrap_or_default()
    }

    /// Everybody who waits, to be told that waiting is of no use.
    pub(super) fn turn_away(&mut self) -> Vec<Grant> {
        self.reads.drain(..).chain(self.writes.drain(..)).collect()
    }

    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.reads.retain(|grant| !grant.is_closed());
        self.writes.retain(|grant| !grant.is_closed());
        if self.reads.is_empty() && self.writes.is_empty() {
            return Next::Nothing;
        }
        let mut best: Option<(f64, usize)> = None;
        let mut soonest: Option<Instant> = None;
        for (index, governor) in self.governors.iter_mut().enumerate() {
            match governor.ready(now) {
                Ready::Now => {
                    let load = governor.load();
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, index));
                    }
                }
                Ready::At(at) => soonest = Some(soonest.map_or(at, |s| s.min(at))),
                Ready::Later => {}
            }
        }
        if let Some((_, identity)) = best
            && let Some(grant) = self.leave()
        {
            self.governors[identity].begin(now);
            return Next::Grant(grant, identity, now);
        }
        match soonest {
            Some(at) if self.timer.is_none_or(|timer| at < timer) => {
                self.timer = Some(at);
                Next::At(at)
            }
            _ => Next::Nothing,
        }
    }

    /// The next in turn.
    fn leave(&mut self) -> Option<Grant> {
        let (first, other) = match self.turn {
            Kind::Read => (Kind::Read, Kind::Write),
            Kind::Write => (Kind::Write, Kind::Read),
        };
        if let Some(grant) = self.queue(first).pop_front() {
            self.turn = other;
            return Some(grant);
        }
        self.queue(other).pop_front()
    }

    /// The timer of `at` has fired. An earlier one may have taken its place.
    pub(super) fn woken(&mut self, at: Instant) {
        if self.timer == Some(at) {
            self.timer = None;
        }
    }

    pub(super) fn end(
        &mut self,
        identity: usize,
        begun: Instant,
        lesson: Lesson,
        now: Instant,
    ) -> bool {
        self.governors
            .get_mut(identity)
            .is_some_and(|governor| governor.end(begun, lesson, now))
    }

    pub(super) fn snapshots(&self, now: Instant) -> Vec<IdentitySnapshot> {
        let snapshot = |(governor, label): (&Governor, &Arc<str>)| IdentitySnapshot {
            label: Arc::clone(label),
            at_a_time: governor.at_a_time(),
            in_flight: governor.in_flight(),
            per_second: governor.per_second(),
            gated_for: governor.gated_for(now),
            requests: governor.requests,
            throttled: governor.throttled,
        };
        self.governors
            .iter()
            .zip(&self.labels)
            .map(snapshot)
            .collect()
    }
}
