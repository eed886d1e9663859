"""Scenarios on topics, subscriptions, rules and forwarding. Those on rules over AMQP are Node's only."""

from datetime import timedelta

from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusError

from common import NOTHING, body, expect, in_seconds, one, take


def properties(message):
    """The application properties as text and plain values."""
    plain = lambda value: value.decode() if isinstance(value, bytes) else value
    return {plain(name): plain(value) for name, value in (message.application_properties or {}).items()}


def expect_bodies(t, subscription, *bodies):
    """The subscription holds just these messages, in this order."""
    with t.subscription(subscription) as receiver:
        messages = take(receiver, len(bodies))
        assert [body(message).decode() for message in messages] == list(bodies), messages
        for message in messages:
            receiver.complete_message(message)
        left = receiver.receive_messages(10, max_wait_time=NOTHING)
        assert not left, f"{len(left)} more messages"


def a_copy_for_every_subscription(t):
    t.publish(ServiceBusMessage("hello", message_id="id-1", application_properties={"n": 7}))
    for subscription in ("a", "b"):
        with t.subscription(subscription) as receiver:
            message = one(receiver)
            assert body(message) == b"hello"
            assert message.message_id == "id-1"
            assert properties(message) == {"n": 7}
            assert (message.sequence_number, message.enqueued_sequence_number) == (1, 1)
            receiver.complete_message(message)


def subscriptions_settle_on_their_own(t):
    t.publish(ServiceBusMessage("m"))
    with t.subscription("a") as receiver:
        receiver.dead_letter_message(one(receiver), reason="Invalid")
    with t.subscription("b") as receiver:
        for _ in range(2):
            receiver.abandon_message(one(receiver))
    for subscription, reason in (("a", "Invalid"), ("b", "MaxDeliveryCountExceeded")):
        with t.subscription(subscription, sub_queue="deadletter") as receiver:
            message = one(receiver)
            assert message.dead_letter_reason == reason
            receiver.complete_message(message)


def batch_send(t):
    with t.client.get_topic_sender(t.topic) as sender:
        batch = sender.create_message_batch()
        for number in range(20):
            batch.add_message(ServiceBusMessage(f"m{number}"))
        sender.send_messages(batch)
    for subscription in ("a", "b"):
        expect_bodies(t, subscription, *[f"m{number}" for number in range(20)])


def schedule_and_cancel(t):
    due = in_seconds(2)
    with t.client.get_topic_sender(t.topic) as sender:
        numbers = sender.schedule_messages([ServiceBusMessage("kept"), ServiceBusMessage("cancelled")], due)
        sender.cancel_scheduled_messages(numbers[1])
    for subscription in ("a", "b"):
        expect_bodies(t, subscription, "kept")
    assert in_seconds(0) >= due - timedelta(milliseconds=1)


def duplicate_detection(t):
    t.publish(ServiceBusMessage("first", message_id="same"))
    t.publish(ServiceBusMessage("second", message_id="same"), ServiceBusMessage("third", message_id="other"))
    expect_bodies(t, "a", "first", "third")


def the_smallest_time_to_live_applies(t):
    t.publish(ServiceBusMessage("default"), ServiceBusMessage("short", time_to_live=timedelta(seconds=3)))
    for subscription, default in (("a", timedelta(minutes=10)), ("b", timedelta(hours=1))):
        with t.subscription(subscription) as receiver:
            peeked = receiver.peek_messages(2)
            lives = [message.expires_at_utc - message.enqueued_time_utc for message in peeked]
            assert lives == [default, timedelta(seconds=3)], lives
    with t.subscription("b", sub_queue="deadletter") as receiver:
        assert one(receiver).dead_letter_reason == "TTLExpiredException"


def receiving_from_it_is_refused(t):
    with expect(ServiceBusError):
        with t.client.get_queue_receiver(t.topic) as receiver:
            receiver.receive_messages(1, max_wait_time=NOTHING)


def sending_to_it_is_refused(t):
    with expect(ServiceBusError):
        with t.client.get_topic_sender(t.topic + "/Subscriptions/a") as sender:
            sender.send_messages(ServiceBusMessage("m"))


def unknown(t):
    for subscription in ("c", "a/b"):
        with expect(MessagingEntityNotFoundError):
            t.subscription(subscription).__enter__()


def address_in_any_case(t):
    t.publish(ServiceBusMessage("m"))
    with t.client.get_subscription_receiver(t.topic.upper(), "A") as receiver:
        receiver.dead_letter_message(one(receiver))
    with t.client.get_queue_receiver(t.topic + "/SUBSCRIPTIONS/a/$deadletterqueue") as receiver:
        receiver.complete_message(one(receiver))


def correlation_filter(t):
    def message(name, **changes):
        fields = {"correlation_id": "corr-1", "subject": "order", "to": "there", **changes}
        fields.setdefault("application_properties", {"color": "red", "urgent": True, "more": 1})
        return ServiceBusMessage(name, **fields)

    t.publish(
        message("match"),
        message("no-1", correlation_id="corr-2"),
        message("no-2", subject="Order"),
        message("no-3", to=None),
        message("no-4", application_properties={"color": "red"}),
        message("no-5", application_properties={"color": "red", "urgent": "True"}),
    )
    expect_bodies(t, "a", "match")


def sql_filter(t):
    def message(name, subject=None, **changes):
        return ServiceBusMessage(name, subject=subject, application_properties=changes)

    t.publish(
        message("1", color="red", quantity=10),
        message("no-1", color="red", quantity=9),
        message("no-2", color="green", quantity=10),
        message("2", color="green", subject="urgent_1"),
        message("no-3", color="green", subject="urgent-1"),
        message("no-4", subject="urgent_1"),
        message("3", color="blue", quantity=10.5),
    )
    expect_bodies(t, "a", "1", "2", "3")


def unknown_is_neither_true_nor_false(t):
    for name, size in (("one", 1), ("two", 2), ("none", None)):
        t.publish(ServiceBusMessage(name, application_properties={"size": size} if size else {}))
    expect_bodies(t, "a", "two")
    expect_bodies(t, "b", "one", "none")


def an_action_changes_its_copy(t):
    sent = {"color": "red", "quantity": 10}
    t.publish(ServiceBusMessage("m", subject="whole", application_properties=sent))
    with t.subscription("a") as receiver:
        message = one(receiver)
        assert properties(message) == {"quantity": 5, "RuleName": "halve"}
        assert message.subject == "half"
    with t.subscription("b") as receiver:
        message = one(receiver)
        assert properties(message) == sent
        assert message.subject == "whole"


def a_copy_for_each_action_and_one_for_all_without(t):
    t.publish(ServiceBusMessage("m", application_properties={"n": 1}))
    with t.subscription("a") as receiver:
        messages = take(receiver, 3)
        seen = sorted(str(properties(message).get("RuleName")) for message in messages)
        assert seen == ["None", "act-1", "act-2"], seen
        assert not receiver.receive_messages(1, max_wait_time=NOTHING)


def evaluation_exceptions(t):
    t.publish(ServiceBusMessage("m", application_properties={"color": "red"}))
    with t.subscription("a", sub_queue="deadletter") as receiver:
        message = one(receiver)
        assert body(message) == b"m"
        assert "wrong" in message.dead_letter_error_description
    for subscription in ("a", "b"):
        expect_bodies(t, subscription)
    with t.subscription("b", sub_queue="deadletter") as receiver:
        assert not receiver.peek_messages(1)


def queue_to_queue(t):
    t.send(ServiceBusMessage("0"), ServiceBusMessage("1", application_properties={"n": 1}))
    with t.client.get_queue_receiver(t.queue + "-next") as receiver:
        first, second = take(receiver, 2)
        assert (body(first), body(second)) == (b"0", b"1")
        assert properties(second) == {"n": 1}
        assert second.enqueued_sequence_number == 2
        receiver.complete_message(second)


def subscription_to_topic(t):
    for color in ("red", "blue"):
        t.publish(ServiceBusMessage(color, application_properties={"color": color}))
    with t.client.get_subscription_receiver(t.topic + "-next", "b") as receiver:
        assert body(one(receiver)) == b"red"
        assert not receiver.receive_messages(1, max_wait_time=NOTHING)


def dead_letters(t):
    t.send(ServiceBusMessage("q"))
    with t.receiver() as receiver:
        receiver.dead_letter_message(one(receiver), reason="Invalid")
    t.publish(ServiceBusMessage("s"))
    with t.subscription("a") as receiver:
        receiver.dead_letter_message(one(receiver), reason="Invalid")
    with t.client.get_queue_receiver(t.queue + "-dead") as receiver:
        messages = take(receiver, 2)
        assert all(message.dead_letter_reason == "Invalid" for message in messages)
        sources = [message.dead_letter_source for message in messages]
        assert sources == [t.queue, t.topic + "/Subscriptions/a"], sources


def at_most_four_hops(t):
    t.send(ServiceBusMessage("m"))
    with t.client.get_queue_receiver(t.queue + "-4", sub_queue="deadletter") as receiver:
        assert one(receiver).dead_letter_reason == "MaxTransferHopCountExceeded"


def receiving_from_the_source_is_refused(t):
    with expect(ServiceBusError):
        with t.receiver() as receiver:
            receiver.receive_messages(1, max_wait_time=NOTHING)


SCENARIOS = {
    "topic: a copy for every subscription": a_copy_for_every_subscription,
    "topic: subscriptions settle on their own": subscriptions_settle_on_their_own,
    "topic: batch send": batch_send,
    "topic: schedule and cancel": schedule_and_cancel,
    "topic: duplicate detection": duplicate_detection,
    "topic: the smallest time to live applies": the_smallest_time_to_live_applies,
    "topic: receiving from it is refused": receiving_from_it_is_refused,
    "subscription: sending to it is refused": sending_to_it_is_refused,
    "subscription: unknown": unknown,
    "subscription: address in any case": address_in_any_case,
    "rules: correlation filter": correlation_filter,
    "rules: SQL filter": sql_filter,
    "rules: unknown is neither true nor false": unknown_is_neither_true_nor_false,
    "rules: an action changes its copy": an_action_changes_its_copy,
    "rules: a copy for each action and one for all without": a_copy_for_each_action_and_one_for_all_without,
    "rules: evaluation exceptions": evaluation_exceptions,
    "forwarding: queue to queue": queue_to_queue,
    "forwarding: subscription to topic": subscription_to_topic,
    "forwarding: dead letters": dead_letters,
    "forwarding: at most four hops": at_most_four_hops,
    "forwarding: receiving from the source is refused": receiving_from_the_source_is_refused,
}
