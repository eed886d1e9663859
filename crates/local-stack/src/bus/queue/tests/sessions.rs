//! Sessions: who holds one, in which order its messages come, and what becomes of them.

use super::*;
use crate::bus::queue::session_requests::SessionError;
use crate::bus::queue::sessions::SessionId;
use crate::bus::queue::waiters::ConsumerId;

impl Bench {
    fn with_sessions() -> Self {
        Bench::with(|config| config.requires_session = true)
    }

    fn send_to(&mut self, session: &'static str, ids: &[&'static str]) {
        for id in ids {
            self.send(&Draft {
                session: Some(session),
                ..Draft::named(id)
            });
        }
    }

    fn accept(&mut self, session: &str, holder: ConsumerId) -> Result<(), SessionError> {
        let id = SessionId::from(session);
        self.queue.accept_session(&id, holder, self.now).map(drop)
    }

    fn accept_next(&mut self, holder: ConsumerId) -> Option<String> {
        let deadline = self.now + time::Duration::seconds(20);
        let next = self.queue.accept_next_session(holder, deadline, self.now);
        next.map(|(id, _)| id.to_string())
    }

    fn receive_in(&mut self, session: &str, holder: ConsumerId) -> Option<Entry> {
        let token = self.token();
        self.queue
            .next_in_session(session, holder, Some(token), self.now)
    }

    fn all_in(&mut self, session: &str, holder: ConsumerId) -> Vec<String> {
        std::iter::from_fn(|| id(self.receive_in(session, holder))).collect()
    }

    fn holds(&mut self, session: &str, holder: ConsumerId) -> bool {
        self.queue
            .session_held(session, &[holder], self.now)
            .is_ok()
    }
}

fn token(entry: Option<Entry>) -> Uuid {
    entry.unwrap().lock.unwrap().token
}

#[test]
fn a_session_is_held_by_one_receiver_at_a_time() {
    let mut bench = Bench::with_sessions();
    bench.accept("s", 1).unwrap();
    assert_eq!(
        bench.accept("s", 2),
        Err(SessionError::CannotBeLocked("s".into()))
    );
    bench.accept("other", 2).unwrap();
    bench.queue.release_session("s", 1, bench.now);
    bench.accept("s", 2).unwrap();
}

#[test]
fn its_holder_receives_its_messages_in_order_and_no_others() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.send_to("t", &["x"]);
    bench.send_to("s", &["b", "c"]);
    bench.accept("s", 1).unwrap();
    assert_eq!(bench.all_in("s", 1), ["a", "b", "c"]);
    assert_eq!(id(bench.receive_in("t", 1)), None);
    assert_eq!(id(bench.receive_in("s", 2)), None);
}

#[test]
fn the_next_session_is_the_free_one_with_the_oldest_message() {
    let mut bench = Bench::with_sessions();
    bench.send_to("b", &["1"]);
    bench.send_to("a", &["2"]);
    bench.send_to("b", &["3"]);
    assert_eq!(bench.accept_next(1).as_deref(), Some("b"));
    assert_eq!(bench.accept_next(2).as_deref(), Some("a"));
    assert_eq!(bench.accept_next(3), None);
}

#[test]
fn a_session_without_ready_messages_is_no_next_session() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.accept("s", 1).unwrap();
    let held = token(bench.receive_in("s", 1));
    bench.settle(held, &defer()).unwrap();
    bench.queue.release_session("s", 1, bench.now);
    assert_eq!(bench.accept_next(2), None);
    // It can be asked for by name all the same.
    bench.accept("s", 2).unwrap();
}

#[test]
fn who_waits_for_a_session_is_woken_by_a_message_a_release_an_expiry_or_the_end_of_patience() {
    let mut bench = Bench::with_sessions();
    assert_eq!(bench.accept_next(1), None);
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
    bench.send_to("s", &["a"]);
    assert_eq!(bench.queue.take_woken(), [1]);
    assert_eq!(bench.accept_next(1).as_deref(), Some("s"));

    assert_eq!(bench.accept_next(2), None);
    bench.queue.release_session("s", 1, bench.now);
    assert_eq!(bench.queue.take_woken(), [2]);
    assert_eq!(bench.accept_next(2).as_deref(), Some("s"));

    bench.wait(50);
    assert_eq!(bench.accept_next(3), None);
    bench.wait(10);
    // Its holder is told too.
    assert_eq!(bench.queue.take_woken(), [2, 3]);
    assert_eq!(bench.accept_next(3).as_deref(), Some("s"));

    assert_eq!(bench.accept_next(4), None);
    assert_eq!(
        bench.queue.next_deadline(),
        Some(bench.now + time::Duration::seconds(20))
    );
    bench.wait(20);
    assert_eq!(bench.queue.take_woken(), [4]);
}

#[test]
fn a_holder_that_waits_is_woken_by_its_own_sessions_messages_only() {
    let mut bench = Bench::with_sessions();
    bench.accept("s", 1).unwrap();
    assert_eq!(id(bench.receive_in("s", 1)), None);
    bench.send_to("t", &["x"]);
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
    bench.send_to("s", &["a", "b"]);
    assert_eq!(bench.queue.take_woken(), [1]);
    bench.queue.leave_session("s", 1);
    bench.send_to("s", &["c"]);
    assert_eq!(bench.queue.take_woken(), Vec::<u64>::new());
}

#[test]
fn an_abandoned_message_comes_back_in_its_place() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a", "b", "c"]);
    bench.accept("s", 1).unwrap();
    let first = token(bench.receive_in("s", 1));
    bench.receive_in("s", 1);
    bench.abandon(first);
    let again = bench.receive_in("s", 1).unwrap();
    assert_eq!((again.message.id.as_ref(), again.delivery_count), ("a", 1));
    assert_eq!(bench.all_in("s", 1), ["c"]);
}

#[test]
fn a_closed_session_gives_its_messages_back_in_place_and_uncounted() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a", "b", "c"]);
    bench.accept("s", 1).unwrap();
    let first = token(bench.receive_in("s", 1));
    bench.receive_in("s", 1);
    bench.settle(first, &Settlement::Complete).unwrap();
    bench.queue.release_session("s", 1, bench.now);
    bench.accept("s", 2).unwrap();
    let again = bench.receive_in("s", 2).unwrap();
    assert_eq!((again.message.id.as_ref(), again.delivery_count), ("b", 0));
    assert_eq!(bench.all_in("s", 2), ["c"]);
}

#[test]
fn when_the_sessions_lock_runs_out_so_do_its_messages_and_each_counts_as_failed() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a", "b"]);
    bench.accept("s", 1).unwrap();
    bench.wait(59);
    let held = token(bench.receive_in("s", 1));
    bench.wait(1);
    assert!(!bench.holds("s", 1));
    assert_eq!(
        bench.settle(held, &Settlement::Complete),
        Err(SettleError::LockLost)
    );
    bench.accept("s", 2).unwrap();
    let again = bench.receive_in("s", 2).unwrap();
    assert_eq!((again.message.id.as_ref(), again.delivery_count), ("a", 1));
    let untouched = bench.receive_in("s", 2).unwrap();
    assert_eq!(untouched.delivery_count, 0);
}

#[test]
fn renewing_a_session_renews_its_messages() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.accept("s", 1).unwrap();
    let held = token(bench.receive_in("s", 1));
    bench.wait(40);
    let until = bench.queue.renew_session("s", &[1], bench.now).unwrap();
    assert_eq!(until, bench.now + time::Duration::seconds(60));
    bench.wait(40);
    bench.settle(held, &Settlement::Complete).unwrap();
    assert_eq!(
        bench.queue.renew_session("s", &[2], bench.now),
        Err(SessionError::LockLost)
    );
    bench.wait(20);
    assert_eq!(
        bench.queue.renew_session("s", &[1], bench.now),
        Err(SessionError::LockLost)
    );
}

#[test]
fn a_sessions_state_outlives_its_messages_and_its_holder() {
    let mut bench = Bench::with_sessions();
    bench.accept("s", 1).unwrap();
    let state = Some(Bytes::from_static(b"half done"));
    bench
        .queue
        .set_session_state("s", state.clone(), &[1], bench.now)
        .unwrap();
    bench.queue.release_session("s", 1, bench.now);
    assert_eq!(
        bench.queue.session_state("s", &[1], bench.now),
        Err(SessionError::LockLost)
    );
    bench.accept("s", 2).unwrap();
    assert_eq!(bench.queue.session_state("s", &[2], bench.now), Ok(state));
    bench
        .queue
        .set_session_state("s", None, &[2], bench.now)
        .unwrap();
    assert_eq!(bench.queue.session_state("s", &[2], bench.now), Ok(None));
}

#[test]
fn sessions_are_listed_by_messages_and_state_or_by_when_their_state_was_set() {
    let mut bench = Bench::with_sessions();
    bench.send_to("b", &["1", "2"]);
    bench.send_to("a", &["3"]);
    bench.send(&Draft {
        session: Some("later"),
        scheduled_for: Some(bench.now + time::Duration::seconds(600)),
        ..Draft::named("4")
    });
    bench.accept("empty", 1).unwrap();
    bench.wait(5);
    let state = Some(Bytes::from_static(b"x"));
    bench
        .queue
        .set_session_state("empty", state, &[1], bench.now)
        .unwrap();
    let mut names = |after| {
        let listed = bench.queue.list_sessions(after, bench.now);
        listed.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["a", "b", "empty"]);
    assert_eq!(names(Some(START)), ["empty"]);
    assert!(names(Some(START + time::Duration::seconds(5))).is_empty());
}

#[test]
fn a_deferred_message_is_received_within_its_session_under_the_sessions_lock() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.accept("s", 1).unwrap();
    let held = token(bench.receive_in("s", 1));
    bench.settle(held, &defer()).unwrap();
    bench.wait(10);
    let until = START + time::Duration::seconds(60);
    let mut fresh = || Uuid::from_u128(77);
    let now = bench.now;
    let elsewhere = Some(("t", until));
    assert_eq!(
        bench
            .queue
            .lock_deferred(MAIN, elsewhere, &[1], &mut fresh, now)
            .unwrap_err()
            .0,
        1
    );
    let found = bench
        .queue
        .lock_deferred(MAIN, Some(("s", until)), &[1], &mut fresh, now)
        .unwrap();
    assert_eq!(found[0].lock.unwrap().until, until);
    bench.wait(50);
    // Still deferred, and its delivery has failed.
    let entry = bench.queue.entries(MAIN).next().unwrap();
    assert_eq!((entry.lock, entry.delivery_count), (None, 1));
    assert_eq!(bench.accept_next(2), None);
}

#[test]
fn peeking_sees_one_session_or_all() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.send_to("t", &["x"]);
    bench.send_to("s", &["b"]);
    let mut ids = |session, from, count| {
        let peeked = bench.queue.peek(MAIN, session, from, count, START);
        let ids = peeked.iter().map(|entry| entry.message.id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 0, 9), ["a", "x", "b"]);
    assert_eq!(ids(Some("s"), 0, 9), ["a", "b"]);
    assert_eq!(ids(Some("s"), 2, 1), ["b"]);
}

#[test]
fn dead_letters_keep_their_session_id_and_have_no_sessions() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.accept("s", 1).unwrap();
    let held = token(bench.receive_in("s", 1));
    bench.settle(held, &dead_letter("why")).unwrap();
    assert!(!bench.queue.has_sessions(DEAD));
    let dead = bench.receive_from(DEAD).unwrap();
    assert_eq!(dead.message.session.as_deref(), Some("s"));
}

#[test]
fn the_last_failed_delivery_dead_letters_and_the_session_goes_on() {
    let mut bench = Bench::with(|config| {
        config.requires_session = true;
        config.max_delivery_count = 1;
    });
    bench.send_to("s", &["a", "b"]);
    bench.accept("s", 1).unwrap();
    let held = token(bench.receive_in("s", 1));
    bench.abandon(held);
    assert_eq!(bench.all_in("s", 1), ["b"]);
    bench.wait(60);
    assert_eq!(bench.ids(DEAD), ["a", "b"]);
}

#[test]
fn a_message_that_comes_due_joins_its_session_at_the_end() {
    let mut bench = Bench::with_sessions();
    bench.send(&Draft {
        session: Some("s"),
        scheduled_for: Some(bench.now + time::Duration::seconds(10)),
        ..Draft::named("retry")
    });
    bench.send_to("s", &["newer"]);
    bench.accept("s", 1).unwrap();
    bench.wait(10);
    assert_eq!(bench.all_in("s", 1), ["newer", "retry"]);
}

#[test]
fn a_message_without_a_session_that_could_not_be_refused_is_dead_lettered() {
    let mut bench = Bench::with_sessions();
    bench.send_named(&["a"]);
    assert_eq!(bench.ids(DEAD), ["a"]);
    let dead = bench.queue.entries(DEAD).next().unwrap();
    assert_eq!(
        property(dead, "DeadLetterReason").as_deref(),
        Some("Session id is null.")
    );
}

#[test]
fn elsewhere_a_session_id_is_a_property_like_others() {
    let mut bench = Bench::new();
    bench.send_to("s", &["a"]);
    assert!(!bench.queue.has_sessions(MAIN));
    assert_eq!(id(bench.receive()).as_deref(), Some("a"));
    assert!(bench.accept("s", 1).is_err());
}

#[test]
fn a_lock_lost_on_demand_takes_the_session_and_all_its_messages_with_it() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a", "b"]);
    bench.accept("s", 1).unwrap();
    let lost = token(bench.receive_in("s", 1));
    let other = token(bench.receive_in("s", 1));
    assert!(bench.queue.lose_lock(MAIN, lost, bench.now));
    assert!(!bench.queue.lose_lock(MAIN, other, bench.now));
    assert!(!bench.holds("s", 1));
    assert_eq!(bench.queue.take_woken(), [1]);
    bench.accept("s", 2).unwrap();
    assert_eq!(bench.receive_in("s", 2).unwrap().delivery_count, 1);
}

#[test]
fn all_locks_lost_on_demand_are_those_of_sessions_without_a_message_too() {
    let mut bench = Bench::with_sessions();
    bench.send_to("s", &["a"]);
    bench.accept("s", 1).unwrap();
    bench.receive_in("s", 1).unwrap();
    bench.accept("empty", 2).unwrap();
    assert_eq!(bench.queue.lose_locks(bench.now), 2);
    assert!(!bench.holds("s", 1) && !bench.holds("empty", 2));
    assert!(!bench.queue.lose_session("empty", bench.now));
}
