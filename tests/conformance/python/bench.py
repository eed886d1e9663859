"""How fast Azure's Python client sends and receives. `tests/conformance/bench` explains how it is run."""

import asyncio
import json
import sys
import time

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient as AsyncClient

BATCH = 100
IN_FLIGHT = 64
MEASURES = {
    ServiceBusReceiveMode.PEEK_LOCK: "receive and complete",
    ServiceBusReceiveMode.RECEIVE_AND_DELETE: "receive and delete",
}


def report(measure, way, messages, started):
    seconds = time.monotonic() - started
    print(json.dumps({"measure": measure, "way": way, "messages": messages, "seconds": seconds}), flush=True)


def fill(sender, body, count):
    for _ in range(count // BATCH):
        sender.send_messages([ServiceBusMessage(body) for _ in range(BATCH)])


def receive(receiver, count, settle):
    left = count
    while left > 0:
        messages = receiver.receive_messages(BATCH, max_wait_time=10)
        assert messages, f"{left} of {count} did not come"
        if settle:
            for message in messages:
                receiver.complete_message(message)
        left -= len(messages)


async def receive_async(receiver, count, settle):
    left = count
    while left > 0:
        messages = await receiver.receive_messages(BATCH, max_wait_time=10)
        assert messages, f"{left} of {count} did not come"
        if settle:
            for message in messages:
                await receiver.complete_message(message)
        left -= len(messages)


def blocking(connection, queue, count, body):
    with ServiceBusClient.from_connection_string(connection) as client:
        with client.get_queue_sender(queue) as sender:
            # Connected, authorized and attached: that is not what is measured.
            sender.send_messages(ServiceBusMessage(body))
            started = time.monotonic()
            for _ in range(count):
                sender.send_messages(ServiceBusMessage(body))
            report("send, one by one", "blocking", count, started)
            started = time.monotonic()
            fill(sender, body, count)
            report("send, batches of 100", "blocking", count, started)
        for mode, measure in MEASURES.items():
            with client.get_queue_receiver(queue, receive_mode=mode, prefetch_count=BATCH) as receiver:
                settle = mode == ServiceBusReceiveMode.PEEK_LOCK
                receive(receiver, 1, settle)
                started = time.monotonic()
                receive(receiver, count // 2, settle)
                report(measure, "blocking", count // 2, started)


async def concurrent(connection, queue, count, body):
    async with AsyncClient.from_connection_string(connection) as client:
        async with client.get_queue_sender(queue) as sender:
            await sender.send_messages(ServiceBusMessage(body))
            started = time.monotonic()
            for _ in range(count // 5):
                await sender.send_messages(ServiceBusMessage(body))
            report("send, one by one", "asyncio", count // 5, started)
        numbers = iter(range(count))

        # As many at a time as the window has places, each the next one as soon as it is done. Senders
        # may not be shared between coroutines (the client's own README; sharing one hangs): one each.
        async def place(sender):
            for _ in numbers:
                await sender.send_messages(ServiceBusMessage(body))

        senders = [client.get_queue_sender(queue) for _ in range(IN_FLIGHT)]
        await asyncio.gather(*(sender.send_messages(ServiceBusMessage(body)) for sender in senders))
        started = time.monotonic()
        await asyncio.gather(*map(place, senders))
        report("send, pipelined", f"asyncio, {IN_FLIGHT} senders", count, started)
        await asyncio.gather(*(sender.close() for sender in senders))
        for mode, measure in MEASURES.items():
            async with client.get_queue_receiver(queue, receive_mode=mode, prefetch_count=BATCH) as receiver:
                settle = mode == ServiceBusReceiveMode.PEEK_LOCK
                await receive_async(receiver, 1, settle)
                started = time.monotonic()
                await receive_async(receiver, count // 3, settle)
                report(measure, "asyncio", count // 3, started)


def main():
    connection, queue, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    blocking(connection, queue, count, b"x" * size)
    asyncio.run(concurrent(connection, queue, count, b"x" * size))


main()
