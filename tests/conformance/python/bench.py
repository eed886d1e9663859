"""How fast Azure's Python client sends and receives. `tests/conformance/bench` explains how it is run."""

import asyncio
import json
import sys
import time

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient as AsyncClient

BATCH = 100
IN_FLIGHT = 64


def report(measure, messages, started):
    seconds = time.monotonic() - started
    print(json.dumps({"measure": measure, "messages": messages, "seconds": seconds}), flush=True)


async def pipelined(connection, queue, count, body):
    async with AsyncClient.from_connection_string(connection) as client, client.get_queue_sender(queue) as sender:
        await sender.send_messages(ServiceBusMessage(body))
        started = time.monotonic()
        for _ in range(count // IN_FLIGHT):
            await asyncio.gather(*(sender.send_messages(ServiceBusMessage(body)) for _ in range(IN_FLIGHT)))
        report("send, pipelined", count // IN_FLIGHT * IN_FLIGHT, started)


def receive(receiver, count, settle):
    left = count
    while left:
        messages = receiver.receive_messages(min(BATCH, left), max_wait_time=10)
        assert messages, f"{left} of {count} did not come"
        if settle:
            for message in messages:
                receiver.complete_message(message)
        left -= len(messages)


def main():
    connection, queue, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    body = b"x" * size
    with ServiceBusClient.from_connection_string(connection) as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage(body))
            started = time.monotonic()
            for _ in range(count):
                sender.send_messages(ServiceBusMessage(body))
            report("send, one by one", count, started)
            started = time.monotonic()
            for _ in range(count // BATCH):
                sender.send_messages([ServiceBusMessage(body) for _ in range(BATCH)])
            report("send, batches of 100", count // BATCH * BATCH, started)
        with client.get_queue_receiver(queue) as receiver:
            receive(receiver, 1, True)
            started = time.monotonic()
            receive(receiver, count // BATCH * BATCH, True)
            report("receive and complete", count // BATCH * BATCH, started)
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        with client.get_queue_receiver(queue, receive_mode=mode) as receiver:
            started = time.monotonic()
            receive(receiver, count, False)
            report("receive and delete", count, started)
    asyncio.run(pipelined(connection, queue, count, body))


main()
