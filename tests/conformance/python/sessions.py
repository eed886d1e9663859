"""Scenarios about sessions."""

import time
from datetime import datetime, timedelta, timezone

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from common import NOTHING, body, expect, in_seconds, one, take


def message(session, text):
    return ServiceBusMessage(text, session_id=session)


def bodies(messages):
    return [body(message) for message in messages]


def named(t):
    t.send(message("s", "a"), message("t", "x"), message("s", "b"))
    with t.receiver(session_id="s") as receiver:
        assert receiver.session.session_id == "s"
        assert receiver.session.locked_until_utc > in_seconds(50)
        messages = take(receiver, 2)
        assert bodies(messages) == [b"a", b"b"]
        assert messages[0].session_id == "s"
        for received in messages:
            receiver.complete_message(received)
        assert not receiver.receive_messages(1, max_wait_time=NOTHING)


def next_available(t):
    t.send(message("b", "1"), message("a", "2"))
    seen = []
    for _ in range(2):
        with t.receiver(session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5) as receiver:
            seen.append(receiver.session.session_id)
            receiver.complete_message(one(receiver))
    assert sorted(seen) == ["a", "b"], seen


def state(t):
    t.send(message("s", "a"))
    with t.receiver(session_id="s") as receiver:
        assert receiver.session.get_state() is None
        receiver.session.set_state(b"half done")
    with t.receiver(session_id="s") as receiver:
        assert receiver.session.get_state() == b"half done"
        receiver.session.set_state(None)
        assert receiver.session.get_state() is None


def renew_lock(t):
    t.send(message("s", "a"))
    with t.receiver(session_id="s") as receiver:
        before = receiver.session.locked_until_utc
        time.sleep(0.05)
        after = receiver.session.renew_lock()
        assert after > before and receiver.session.locked_until_utc == after
        receiver.complete_message(one(receiver))


def cannot_be_locked(t):
    t.send(message("s", "a"))
    with t.receiver(session_id="s") as receiver:
        one(receiver)
        with expect(SessionCannotBeLockedError):
            t.receiver(session_id="s").__enter__()


def none_in_time(t):
    with expect(OperationTimeoutError):
        with t.receiver(session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1) as receiver:
            receiver.receive_messages(1)


def order_after_abandon(t):
    t.send(*[message("s", f"m{number}") for number in range(3)])
    with t.receiver(session_id="s") as receiver:
        first = one(receiver)
        receiver.abandon_message(first)
        messages = take(receiver, 3)
        assert bodies(messages) == [b"m0", b"m1", b"m2"], bodies(messages)
        assert [received.delivery_count for received in messages] == [1, 0, 0]


def two_in_parallel(t):
    t.send(*[message(session, f"{session}{number}") for number in range(5) for session in "st"])
    with t.receiver(session_id="s") as first, t.receiver(session_id="t") as second:
        assert bodies(take(second, 5)) == [b"t0", b"t1", b"t2", b"t3", b"t4"]
        assert bodies(take(first, 5)) == [b"s0", b"s1", b"s2", b"s3", b"s4"]


def without_a_session_id(t):
    try:
        t.send(ServiceBusMessage("a"))
    except ServiceBusError as error:
        assert "SessionId was not set" in str(error), error
    else:
        raise AssertionError("a message without a session id was taken")
    t.send(message("s", "b"))


def plain_receiver(t):
    t.send(message("s", "a"))
    try:
        with t.receiver() as receiver:
            receiver.receive_messages(1, max_wait_time=NOTHING)
    except ServiceBusError as error:
        assert "non-sessionful message receiver" in str(error), error
    else:
        raise AssertionError("a plain receiver was taken")


def receiver_on_a_plain_queue(t):
    t.send(message("s", "a"))
    try:
        with t.receiver(session_id="s") as receiver:
            receiver.receive_messages(1, max_wait_time=NOTHING)
    except ServiceBusError as error:
        assert "does not require sessions" in str(error), error
    else:
        raise AssertionError("a session receiver was taken")
    # There a session id is a property like others.
    with t.receiver() as receiver:
        assert one(receiver).session_id == "s"


def lock_expiry(t):
    t.send(message("s", "a"))
    with t.receiver(session_id="s") as receiver:
        received = one(receiver)
        until = receiver.session.locked_until_utc
        time.sleep((until - datetime.now(timezone.utc)).total_seconds() + 0.3)
        with expect(SessionLockLostError):
            receiver.complete_message(received)
    with t.receiver(session_id="s") as receiver:
        again = one(receiver)
        assert again.delivery_count == 1
        receiver.complete_message(again)


def peek(t):
    t.send(message("s", "a"), message("t", "x"), message("s", "b"))
    with t.receiver(session_id="s") as receiver:
        assert bodies(receiver.peek_messages(9)) == [b"a", b"b"]
        assert bodies(receiver.peek_messages(9, sequence_number=2)) == [b"b"]


def deferral(t):
    t.send(message("s", "a"), message("s", "b"))
    with t.receiver(session_id="s") as receiver:
        first, second = take(receiver, 2)
        receiver.defer_message(first)
        receiver.complete_message(second)
    with t.receiver(session_id="s") as receiver:
        (found,) = receiver.receive_deferred_messages([first.sequence_number])
        assert body(found) == b"a"
        receiver.complete_message(found)
        assert receiver.peek_messages(9, sequence_number=1) == []


def schedule(t):
    with t.client.get_queue_sender(t.queue) as sender:
        sender.schedule_messages([message("s", "later")], in_seconds(4))
    t.send(message("s", "now"))
    with t.receiver(session_id="s") as receiver:
        assert bodies(take(receiver, 2)) == [b"now", b"later"]


def dead_letters_keep_their_session_id(t):
    t.send(message("s", "a"))
    with t.receiver(session_id="s") as receiver:
        receiver.dead_letter_message(one(receiver), reason="Invalid")
    with t.dead_letters() as receiver:
        received = one(receiver)
        assert (received.session_id, received.dead_letter_reason) == ("s", "Invalid")
        receiver.complete_message(received)


def closing_gives_back_uncounted(t):
    t.send(message("s", "a"), message("s", "b"))
    with t.receiver(session_id="s") as receiver:
        take(receiver, 2)
    with t.receiver(session_id="s") as receiver:
        messages = take(receiver, 2)
        assert bodies(messages) == [b"a", b"b"]
        assert [received.delivery_count for received in messages] == [0, 0]


def list_sessions(t):
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    t.send(message("b", "1"), message("a", "2"))
    with t.receiver(session_id="empty") as receiver:
        receiver.session.set_state(b"x")
    assert list(t.client.list_queue_sessions(t.queue)) == ["a", "b", "empty"]
    assert list(t.client.list_queue_sessions(t.queue, state_updated_after=before)) == ["empty"]


SCENARIOS = {
    "session: named": named,
    "session: next available": next_available,
    "session: state": state,
    "session: renew lock": renew_lock,
    "session: cannot be locked": cannot_be_locked,
    "session: none in time": none_in_time,
    "session: order after abandon": order_after_abandon,
    "session: two in parallel": two_in_parallel,
    "session: message without a session id": without_a_session_id,
    "session: plain receiver": plain_receiver,
    "session: receiver on a plain queue": receiver_on_a_plain_queue,
    "session: lock expiry": lock_expiry,
    "session: peek": peek,
    "session: deferral": deferral,
    "session: schedule": schedule,
    "session: dead letters keep their session id": dead_letters_keep_their_session_id,
    "session: closing gives back uncounted": closing_gives_back_uncounted,
    "session: list": list_sessions,
}
