"""Scenarios for Azure's Python client. `tests/conformance/run` explains how they are run."""

import json
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from uuid import UUID

from azure.servicebus import (
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
)
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    ServiceBusAuthenticationError,
)

import errors
import sessions
import topics
from common import Scenario, body, expect, in_seconds, one, take


def send(t):
    t.send(
        ServiceBusMessage(
            b"hello",
            message_id="id-1",
            correlation_id="corr-1",
            subject="greeting",
            content_type="text/plain",
            to="there",
            reply_to="here",
            partition_key="part",
        )
    )
    with t.receiver() as receiver:
        message = one(receiver)
        assert body(message) == b"hello"
        assert message.message_id == "id-1"
        assert message.correlation_id == "corr-1"
        assert message.subject == "greeting"
        assert message.content_type == "text/plain"
        assert message.to == "there"
        assert message.reply_to == "here"
        assert message.partition_key == "part"
        assert message.sequence_number == 1
        assert message.delivery_count == 0
        assert abs(message.enqueued_time_utc - datetime.now(timezone.utc)) < timedelta(seconds=30)
        receiver.complete_message(message)


def batch_send(t):
    with t.client.get_queue_sender(t.queue) as sender:
        batch = sender.create_message_batch()
        for number in range(50):
            batch.add_message(ServiceBusMessage(f"m{number}", message_id=f"id-{number}"))
        sender.send_messages(batch)
    with t.receiver() as receiver:
        messages = take(receiver, 50)
        assert [message.message_id for message in messages] == [f"id-{number}" for number in range(50)]
        assert [body(message) for message in messages] == [f"m{number}".encode() for number in range(50)]


def scheduled_send(t):
    due = in_seconds(2)
    t.send(ServiceBusMessage("later", scheduled_enqueue_time_utc=due), ServiceBusMessage("now"))
    with t.receiver() as receiver:
        first, second = take(receiver, 2)
        assert datetime.now(timezone.utc) >= due - timedelta(milliseconds=1)
        assert [body(first), body(second)] == [b"now", b"later"]
        assert second.sequence_number > second.enqueued_sequence_number
        assert abs(second.enqueued_time_utc - due) < timedelta(milliseconds=2)


def schedule_and_cancel(t):
    with t.client.get_queue_sender(t.queue) as sender:
        messages = [ServiceBusMessage("kept"), ServiceBusMessage("cancelled")]
        numbers = sender.schedule_messages(messages, in_seconds(2))
        assert len(set(numbers)) == 2
        sender.cancel_scheduled_messages(numbers[1])
        with expect(MessageNotFoundError):
            sender.cancel_scheduled_messages(numbers[1])
    with t.receiver() as receiver:
        assert body(one(receiver)) == b"kept"
    t.expect_empty()


def peek(t):
    t.send(*[ServiceBusMessage(f"m{number}") for number in range(5)])
    with t.receiver() as receiver:
        assert [body(message) for message in receiver.peek_messages(3)] == [b"m0", b"m1", b"m2"]
        assert [body(message) for message in receiver.peek_messages(9)] == [b"m3", b"m4"]
        assert receiver.peek_messages(1) == []
        peeked = receiver.peek_messages(9, sequence_number=2)
        assert [message.sequence_number for message in peeked] == [2, 3, 4, 5]
        assert all(message.locked_until_utc is None for message in peeked)
        # Nothing was locked.
        assert len(take(receiver, 5)) == 5


def peek_scheduled(t):
    due = in_seconds(600)
    with t.client.get_queue_sender(t.queue) as sender:
        (number,) = sender.schedule_messages([ServiceBusMessage("later")], due)
    with t.receiver() as receiver:
        (message,) = receiver.peek_messages(5)
        assert message.sequence_number == number
        assert message.state.name == "SCHEDULED"
        assert abs(message.scheduled_enqueue_time_utc - due) < timedelta(milliseconds=2)
    t.expect_empty()


def peek_lock_and_complete(t):
    t.send(ServiceBusMessage("a"), ServiceBusMessage("b"))
    with t.receiver() as receiver:
        messages = take(receiver, 2)
        assert isinstance(messages[0].lock_token, UUID)
        assert messages[0].locked_until_utc > in_seconds(50)
        # Locked for others.
        t.expect_empty()
        for message in messages:
            receiver.complete_message(message)
        assert receiver.peek_messages(5, sequence_number=1) == []


def abandon(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        for count in range(3):
            message = one(receiver)
            assert message.delivery_count == count
            receiver.abandon_message(message)
        receiver.complete_message(one(receiver))


def dead_letter_with_reason(t):
    t.send(ServiceBusMessage("a", application_properties={"kept": 7}))
    with t.receiver() as receiver:
        receiver.dead_letter_message(one(receiver), reason="Invalid", error_description="no such thing")
    with t.dead_letters() as receiver:
        (message,) = receiver.peek_messages(5)
        assert message.dead_letter_reason == "Invalid"
        assert message.dead_letter_error_description == "no such thing"
        assert message.application_properties[b"kept"] == 7
    t.expect_empty()


def receive_from_the_dead_letter_queue(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        receiver.dead_letter_message(one(receiver), reason="Invalid")
    with t.dead_letters() as receiver:
        message = one(receiver)
        assert message.dead_letter_reason == "Invalid"
        receiver.abandon_message(message)
        receiver.complete_message(one(receiver))
        assert receiver.peek_messages(5, sequence_number=1) == []


def defer_and_receive_deferred(t):
    t.send(ServiceBusMessage("a"), ServiceBusMessage("b"))
    with t.receiver() as receiver:
        numbers = []
        for message in take(receiver, 2):
            numbers.append(message.sequence_number)
            receiver.defer_message(message)
        t.expect_empty()
        peeked = receiver.peek_messages(5, sequence_number=1)
        assert [message.state.name for message in peeked] == ["DEFERRED", "DEFERRED"]
        first, second = receiver.receive_deferred_messages(numbers)
        assert body(first) == b"a"
        receiver.complete_message(first)
        receiver.dead_letter_message(second, reason="Late")
        assert receiver.peek_messages(5, sequence_number=1) == []
        with expect(MessageNotFoundError):
            receiver.receive_deferred_messages(numbers)


def renew_lock(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        message = one(receiver)
        before = message.locked_until_utc
        time.sleep(0.05)
        after = receiver.renew_message_lock(message)
        assert after > before and message.locked_until_utc == after
        receiver.complete_message(message)


def lock_expiry_leads_to_redelivery(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        first = one(receiver)
        again = one(receiver)
        assert datetime.now(timezone.utc) >= first.locked_until_utc
        assert again.delivery_count == 1
        assert again.lock_token != first.lock_token
        receiver.complete_message(again)


def max_delivery_count_leads_to_the_dead_letter_queue(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        for _ in range(3):
            receiver.abandon_message(one(receiver))
    t.expect_empty()
    with t.dead_letters() as receiver:
        assert one(receiver).dead_letter_reason == "MaxDeliveryCountExceeded"


def receive_and_delete(t):
    t.send(*[ServiceBusMessage(f"m{number}") for number in range(20)])
    with t.receiver(receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE) as receiver:
        messages = take(receiver, 20)
        assert messages[0].locked_until_utc is None
        assert receiver.peek_messages(5, sequence_number=1) == []


def application_property_types(t):
    sent = {
        "text": "grüße",
        "true": True,
        "int": 7,
        "negative": -(2**31),
        "float": 1.5,
        "uuid": UUID("00112233-4455-6677-8899-aabbccddeeff"),
        "null": None,
        "when": datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc),
    }
    t.send(ServiceBusMessage("a", application_properties=sent))
    with t.receiver() as receiver:
        got = {key.decode(): value for key, value in one(receiver).application_properties.items()}
        assert got.pop("text").decode() == sent.pop("text")
        # Timestamps come back as milliseconds since 1970.
        assert got.pop("when") == sent.pop("when").timestamp() * 1000
        assert got == sent, got


def a_200_kb_body(t):
    sent = bytes(number % 251 for number in range(200_000))
    t.send(ServiceBusMessage(sent))
    with t.receiver() as receiver:
        message = one(receiver)
        assert body(message) == sent
        receiver.complete_message(message)


def too_large_a_message(t):
    with expect(MessageSizeExceededError):
        t.send(ServiceBusMessage(b"x" * 300_000))
    t.send(ServiceBusMessage("small"))
    with t.receiver() as receiver:
        assert body(one(receiver)) == b"small"


def unknown_queue(t):
    # The token for it is refused with 404, as on the service; this client takes any refused token for
    # an authentication that failed.
    for name in (t.queue + "-unknown", t.queue + "/unknown"):
        for open_link in (t.client.get_queue_sender, t.client.get_queue_receiver):
            with expect(ServiceBusAuthenticationError):
                open_link(name).__enter__()


def duplicate_detection(t):
    t.send(ServiceBusMessage("first", message_id="same"))
    t.send(ServiceBusMessage("second", message_id="same"))
    t.send(ServiceBusMessage("third", message_id="other"))
    with t.receiver() as receiver:
        messages = take(receiver, 2)
        assert [body(message) for message in messages] == [b"first", b"third"]
        for message in messages:
            receiver.complete_message(message)
        t.send(ServiceBusMessage("fourth", message_id="same"))
        assert receiver.peek_messages(5, sequence_number=1) == []


class NeverExpiring(ServiceBusReceivedMessage):
    """A received message whose lock the client takes to be good for ever."""

    _lock_expired = False


def settle_after_the_lock_is_lost(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        first = one(receiver)
        again = one(receiver)
        # The client has a clock of its own for locks; it must ask the broker all the same.
        first.__class__ = NeverExpiring
        for settle in (receiver.complete_message, receiver.renew_message_lock):
            with expect(MessageLockLostError):
                settle(first)
        receiver.complete_message(again)


def two_receivers_compete(t):
    count = 200
    t.send(*[ServiceBusMessage(f"m{number}") for number in range(count)])
    taken, lock = [], threading.Lock()

    def work():
        with t.receiver() as receiver:
            while True:
                messages = receiver.receive_messages(7, max_wait_time=1)
                if not messages:
                    return
                for message in messages:
                    receiver.complete_message(message)
                with lock:
                    taken.extend(body(message) for message in messages)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"m{number}".encode() for number in range(count))


def time_to_live(t):
    t.send(ServiceBusMessage("short", time_to_live=timedelta(seconds=3)), ServiceBusMessage("long"))
    with t.receiver() as receiver:
        (short, _) = receiver.peek_messages(5)
        assert short.expires_at_utc == short.enqueued_time_utc + timedelta(seconds=3)
    with t.dead_letters() as receiver:
        assert one(receiver).dead_letter_reason == "TTLExpiredException"
    with t.receiver() as receiver:
        assert body(one(receiver)) == b"long"


def continuous_receive(t):
    def send_slowly():
        for number in range(5):
            t.send(ServiceBusMessage(f"m{number}"))

    thread = threading.Thread(target=send_slowly)
    with t.receiver(prefetch_count=3) as receiver:
        thread.start()
        got = []
        for message in receiver:
            got.append(body(message))
            receiver.complete_message(message)
            if len(got) == 5:
                break
        thread.join()
        assert got == [b"m0", b"m1", b"m2", b"m3", b"m4"]
        assert receiver.peek_messages(5, sequence_number=1) == []


SCENARIOS = {
    "send": send,
    "batch send": batch_send,
    "scheduled send": scheduled_send,
    "schedule and cancel": schedule_and_cancel,
    "peek": peek,
    "peek scheduled": peek_scheduled,
    "peek-lock and complete": peek_lock_and_complete,
    "abandon": abandon,
    "dead-letter with reason": dead_letter_with_reason,
    "receive from the dead-letter queue": receive_from_the_dead_letter_queue,
    "defer and receive deferred": defer_and_receive_deferred,
    "renew lock": renew_lock,
    "lock expiry leads to redelivery": lock_expiry_leads_to_redelivery,
    "MaxDeliveryCount leads to the dead-letter queue": max_delivery_count_leads_to_the_dead_letter_queue,
    "receive-and-delete": receive_and_delete,
    "application property types": application_property_types,
    "200 kB body": a_200_kb_body,
    "too large a message": too_large_a_message,
    "unknown queue": unknown_queue,
    "duplicate detection": duplicate_detection,
    "settle after the lock is lost": settle_after_the_lock_is_lost,
    "two receivers compete": two_receivers_compete,
    "time to live": time_to_live,
    "continuous receive": continuous_receive,
    **errors.SCENARIOS,
    **sessions.SCENARIOS,
    **topics.SCENARIOS,
}


def run(connection_string, step):
    started = time.monotonic()
    error = None
    try:
        # Without retries, which would hide failures.
        with ServiceBusClient.from_connection_string(connection_string, retry_total=0) as client:
            SCENARIOS[step["name"]](Scenario(client, step["queue"], step["topic"]))
    except Exception:
        error = traceback.format_exc()
    seconds = round(time.monotonic() - started, 2)
    return {"name": step["name"], "error": error, "seconds": seconds}


def main():
    connection_string, plan = sys.argv[1], json.loads(sys.argv[2])
    # Opening and closing a link takes this client about a second of waiting.
    with ThreadPoolExecutor(max_workers=6) as pool:
        for report in pool.map(lambda step: run(connection_string, step), plan):
            print(json.dumps(report), flush=True)


main()
