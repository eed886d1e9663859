"""Refused tokens, full queues, a busy service and broken connections.

ADMIN is the URL of the broker's test hooks.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import sys
import time
from urllib.parse import quote_plus
from urllib.request import Request, urlopen

from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import (
    MessageLockLostError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
    ServiceBusServerBusyError,
)

from common import body, expect, one

REFUSED = (ServiceBusAuthenticationError, ServiceBusAuthorizationError)


def connection_string():
    return sys.argv[1]


def admin(path, what):
    """Uses one of the broker's test hooks."""
    url = f"{os.environ['ADMIN']}/_admin/{path}"
    request = Request(url, json.dumps(what).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


def connect(text, **options):
    return ServiceBusClient.from_connection_string(text, **{"retry_total": 0, **options})


def with_key(name, key):
    text = re.sub("SharedAccessKeyName=[^;]*", f"SharedAccessKeyName={name}", connection_string())
    return re.sub("SharedAccessKey=[^;]*", f"SharedAccessKey={key}", text)


def with_signature(queue, expiry):
    """A connection string that holds a token instead of a key."""
    host = re.search("sb://([^;/]*)", connection_string()).group(1)
    resource = quote_plus(f"sb://{host}/{queue}")
    to_sign = f"{resource}\n{expiry}".encode()
    signature = base64.b64encode(hmac.new(b"local", to_sign, hashlib.sha256).digest())
    token = f"SharedAccessSignature sr={resource}&sig={quote_plus(signature)}&se={expiry}&skn=RootManageSharedAccessKey"
    return f"Endpoint=sb://{host};SharedAccessSignature={token};UseDevelopmentEmulator=true;"


def expect_refused(t, text, *, sending=True, receiving=True):
    with connect(text) as client:
        if sending:
            with expect(REFUSED):
                with client.get_queue_sender(t.queue) as sender:
                    sender.send_messages(ServiceBusMessage("a"))
        if receiving:
            with expect(REFUSED):
                with client.get_queue_receiver(t.queue) as receiver:
                    receiver.receive_messages(max_wait_time=1)


def wrong_key(t):
    expect_refused(t, with_key("RootManageSharedAccessKey", "wrong"))


def unknown_key_name(t):
    expect_refused(t, with_key("Nobody", "local"))


def send_without_send(t):
    expect_refused(t, with_key("listener", "listen-only"), receiving=False)
    t.send(ServiceBusMessage("a"))
    with connect(with_key("listener", "listen-only")) as client:
        with client.get_queue_receiver(t.queue) as receiver:
            receiver.complete_message(one(receiver))


def receive_without_listen(t):
    expect_refused(t, with_key("sender", "send-only"), sending=False)
    with connect(with_key("sender", "send-only")) as client:
        with client.get_queue_sender(t.queue) as sender:
            sender.send_messages(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        receiver.complete_message(one(receiver))


def shared_access_signature(t):
    with connect(with_signature(t.queue, int(time.time()) + 600)) as client:
        with client.get_queue_sender(t.queue) as sender:
            sender.send_messages(ServiceBusMessage("a"))
        with client.get_queue_receiver(t.queue) as receiver:
            receiver.complete_message(one(receiver))


def expired_shared_access_signature(t):
    expect_refused(t, with_signature(t.queue, int(time.time()) - 60))


def signature_for_another_queue(t):
    expect_refused(t, with_signature(t.queue + "-other", int(time.time()) + 600))


def quota_exceeded(t):
    t.send(ServiceBusMessage(b"x" * 2_000))
    with expect(ServiceBusQuotaExceededError):
        t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        receiver.complete_message(one(receiver))
    t.send(ServiceBusMessage("b"))


def server_busy_then_success(t):
    busy = {"refuse": {"condition": "com.microsoft:server-busy", "description": "busy"}}
    script = {"entity": t.queue, "operation": "send", "fault": busy}
    admin("script", script)
    with expect(ServiceBusServerBusyError):
        t.send(ServiceBusMessage("a"))
    admin("script", {**script, "times": 2})
    with connect(connection_string(), retry_total=3, retry_backoff_factor=0.1) as client:
        with client.get_queue_sender(t.queue) as sender:
            sender.send_messages(ServiceBusMessage("b"))
    with t.receiver() as receiver:
        assert body(one(receiver)) == b"b"


def resumed_after(t, what):
    """Receives on one receiver before and after its connection was disturbed."""
    with connect(connection_string(), retry_total=3, retry_backoff_factor=0.1) as client:
        with client.get_queue_receiver(t.queue) as receiver:
            t.send(ServiceBusMessage("a"))
            receiver.complete_message(one(receiver))
            assert admin("disturb", {"whom": {"entity": t.queue}, "what": what})["told"] == 1
            t.send(ServiceBusMessage("b"))
            message = one(receiver)
            assert body(message) == b"b"
            receiver.complete_message(message)


def connection_reset(t):
    resumed_after(t, "reset")


def connection_cut_in_a_frame(t):
    resumed_after(t, "half_frame")


def connection_forced(t):
    resumed_after(t, {"close": {"description": "moved"}})


def link_detached(t):
    resumed_after(t, {"detach": {"description": "idle"}})


def lock_lost_on_demand(t):
    t.send(ServiceBusMessage("a"))
    with t.receiver() as receiver:
        message = one(receiver)
        assert admin("lose-locks", {"entity": t.queue})["lost"] == 1
        with expect(MessageLockLostError):
            receiver.complete_message(message)
        again = one(receiver)
        assert again.delivery_count == 1
        receiver.complete_message(again)


def confirmation_lost(t):
    """The message is taken and the connection cut: the client sends again, detection folds it."""
    cut = {"entity": t.queue, "operation": "send", "after": True, "fault": {"connection": "reset"}}
    admin("script", cut)
    with expect(ServiceBusError):
        t.send(ServiceBusMessage("a", message_id="0"))
    admin("script", cut)
    with connect(connection_string(), retry_total=3, retry_backoff_factor=0.1) as client:
        with client.get_queue_sender(t.queue) as sender:
            sender.send_messages(ServiceBusMessage("b", message_id="1"))
    with t.receiver() as receiver:
        assert [body(message) for message in receiver.peek_messages(5)] == [b"a", b"b"]


SCENARIOS = {
    "error: wrong key": wrong_key,
    "error: unknown key name": unknown_key_name,
    "error: send without Send": send_without_send,
    "error: receive without Listen": receive_without_listen,
    "error: shared access signature": shared_access_signature,
    "error: expired shared access signature": expired_shared_access_signature,
    "error: signature for another queue": signature_for_another_queue,
    "error: entity quota exceeded": quota_exceeded,
    "error: server busy, then success": server_busy_then_success,
    "error: connection reset while receiving": connection_reset,
    "error: connection cut in the middle of a frame": connection_cut_in_a_frame,
    "error: connection closed by the service": connection_forced,
    "error: link detached by the service": link_detached,
    "error: lock lost on demand": lock_lost_on_demand,
    "error: confirmation lost": confirmation_lost,
}
