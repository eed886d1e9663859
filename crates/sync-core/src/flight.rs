//! Keyed single-flight: in one instance a row is in flight at most once, and whoever comes meanwhile
//! joins.
//!
//! The flight runs in a task of its own, so that an invocation that is dropped (its connection to the
//! host broke) never takes the flight, and the messages that joined it, down with it.
//!
//! What makes joining safe is *when* somebody joined. A notification is posted after its change is
//! committed, so a read that is **issued** after a notification arrived sees that change; a read that
//! was already under way may not. [`Flight::cover`] marks the moment before a read is issued;
//! [`Flight::finish`] only succeeds if nobody joined since.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// All flights of an instance.
pub struct Flights<K, N, R> {
    rows: Arc<Mutex<Rows<K, N, R>>>,
}

type Rows<K, N, R> = HashMap<K, Vec<Waiter<N, R>>>;

struct Waiter<N, R> {
    notice: N,
    answer: oneshot::Sender<R>,
}

impl<K, N, R> Clone for Flights<K, N, R> {
    fn clone(&self) -> Self {
        Self {
            rows: Arc::clone(&self.rows),
        }
    }
}

impl<K, N, R> Default for Flights<K, N, R> {
    fn default() -> Self {
        Self {
            rows: Arc::default(),
        }
    }
}

/// What became of a join.
pub enum Joined<K: Eq + Hash, N, R> {
    /// Nobody was flying: fly, then wait for the answer like everybody else.
    First(Flight<K, N, R>, oneshot::Receiver<R>),
    /// A flight is under way and will answer.
    Waiting(oneshot::Receiver<R>),
}

impl<K: Eq + Hash + Clone, N: Clone, R: Clone> Flights<K, N, R> {
    /// Joins the flight of `key`, or starts it.
    pub fn join(&self, key: K, notice: N) -> Joined<K, N, R> {
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { notice, answer };
        let mut rows = lock(&self.rows);
        if let Some(waiters) = rows.get_mut(&key) {
            waiters.push(waiter);
            return Joined::Waiting(answered);
        }
        rows.insert(key.clone(), vec![waiter]);
        Joined::First(
            Flight {
                flights: self.clone(),
                key,
                done: false,
            },
            answered,
        )
    }

    /// Rows in flight now.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.rows).len()
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right, and the duty, to fly a row.
///
/// Dropping it unfinished (a panic, a shutdown) forgets the row and drops its waiters' channels, so
/// that they fail instead of waiting for ever.
pub struct Flight<K: Eq + Hash, N, R> {
    flights: Flights<K, N, R>,
    key: K,
    done: bool,
}

/// Everybody who joined before a read was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered(usize);

impl<K: Eq + Hash + Clone, N: Clone, R: Clone> Flight<K, N, R> {
    /// Call right before issuing a read: whoever joined until now is covered by it.
    pub fn cover(&self) -> (Covered, Vec<N>) {
        let rows = lock(&self.flights.rows);
        let waiters = rows.get(&self.key).map_or(&[][..], |w| w);
        (
            Covered(waiters.len()),
            waiters.iter().map(|w| w.notice.clone()).collect(),
        )
    }

    /// Ends the flight if nobody joined since `covered`; whoever comes after this starts a new one.
    ///
    /// # Errors
    /// Somebody joined since: the flight goes on, look again for them.
    pub fn finish(mut self, covered: Covered) -> Result<Landed<N, R>, Self> {
        let mut rows = lock(&self.flights.rows);
        if rows.get(&self.key).is_some_and(|w| w.len() != covered.0) {
            drop(rows);
            return Err(self);
        }
        let waiters = rows.remove(&self.key).unwrap_or_default();
        drop(rows);
        self.done = true;
        Ok(Landed { waiters })
    }

    /// Ends the flight whoever joined: for a failure, which everybody shares.
    pub fn abort(mut self) -> Landed<N, R> {
        let waiters = lock(&self.flights.rows)
            .remove(&self.key)
            .unwrap_or_default();
        self.done = true;
        Landed { waiters }
    }
}

impl<K: Eq + Hash, N, R> Drop for Flight<K, N, R> {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.flights.rows).remove(&self.key);
        }
    }
}

/// An ended flight whose waiters still want their answer.
pub struct Landed<N, R> {
    waiters: Vec<Waiter<N, R>>,
}

impl<N, R: Clone> Landed<N, R> {
    /// What everybody joined with.
    pub fn notices(&self) -> impl Iterator<Item = &N> {
        self.waiters.iter().map(|w| &w.notice)
    }

    /// Answers everybody.
    pub fn answer(self, mut result: impl FnMut(&N) -> R) {
        for waiter in self.waiters {
            // An invocation that no longer waits was dropped by the host; its message comes back.
            let _ = waiter.answer.send(result(&waiter.notice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(
        flights: &Flights<u8, u8, u8>,
        notice: u8,
    ) -> (Flight<u8, u8, u8>, oneshot::Receiver<u8>) {
        match flights.join(1, notice) {
            Joined::First(flight, answer) => (flight, answer),
            Joined::Waiting(_) => panic!("a flight is already under way"),
        }
    }

    #[test]
    fn whoever_joins_after_the_read_was_issued_keeps_the_flight_going() {
        let flights = Flights::default();
        let (flight, mut a) = first(&flights, 1);
        let (covered, _) = flight.cover();
        let Joined::Waiting(mut b) = flights.join(1, 2) else {
            panic!("second flight")
        };
        let flight = flight
            .finish(covered)
            .err()
            .expect("the joiner was not covered");
        let (covered, notices) = flight.cover();
        assert_eq!(notices, [1, 2]);
        let landed = flight.finish(covered).ok().expect("everybody is covered");
        assert!(flights.is_empty());
        landed.answer(|n| n * 10);
        assert_eq!((a.try_recv().unwrap(), b.try_recv().unwrap()), (10, 20));
    }

    #[test]
    fn a_flight_that_dies_frees_its_row_and_fails_its_waiters() {
        let flights = Flights::default();
        let (flight, mut a) = first(&flights, 1);
        drop(flight);
        assert!(a.try_recv().is_err());
        let _ = first(&flights, 2);
    }

    #[test]
    fn rows_do_not_wait_for_each_other() {
        let flights = Flights::<u8, u8, u8>::default();
        let _one = first(&flights, 1);
        assert!(matches!(flights.join(2, 1), Joined::First(..)));
    }
}
