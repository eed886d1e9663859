"""What the scenarios of all files share."""

from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from azure.servicebus import ServiceBusSubQueue

WAIT = 5  # seconds to wait for messages that must come
NOTHING = 0.5  # seconds after which a queue counts as empty


class Scenario:
    """One scenario's queue, topic and shorthands for them."""

    def __init__(self, client, queue, topic):
        self.client = client
        self.queue = queue
        self.topic = topic

    def send(self, *messages):
        with self.client.get_queue_sender(self.queue) as sender:
            sender.send_messages(list(messages))

    def publish(self, *messages):
        with self.client.get_topic_sender(self.topic) as sender:
            sender.send_messages(list(messages))

    def subscription(self, name, **options):
        return self.client.get_subscription_receiver(self.topic, name, **options)

    def receiver(self, **options):
        return self.client.get_queue_receiver(self.queue, **options)

    def dead_letters(self):
        return self.receiver(sub_queue=ServiceBusSubQueue.DEAD_LETTER)

    def expect_empty(self):
        with self.receiver() as receiver:
            left = receiver.receive_messages(10, max_wait_time=NOTHING)
            assert not left, f"{len(left)} messages left"


def body(message):
    return b"".join(message.body)


def take(receiver, count):
    """Receives exactly `count` messages."""
    messages = []
    while len(messages) < count:
        more = receiver.receive_messages(count - len(messages), max_wait_time=WAIT)
        assert more, f"{len(messages)} of {count} messages came"
        messages += more
    return messages


def one(receiver):
    return take(receiver, 1)[0]


@contextmanager
def expect(error):
    """What is done inside must fail with `error`."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def in_seconds(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)
