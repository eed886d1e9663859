// How fast Azure's JavaScript client sends and receives. `tests/conformance/bench` explains how it is run.
"use strict";

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");

const BATCH = 100;
const IN_FLIGHT = 64;

async function measure(name, messages, work) {
  const started = process.hrtime.bigint();
  await work();
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(JSON.stringify({ measure: name, messages, seconds }));
}

async function receive(receiver, count, settle) {
  for (let left = count; left > 0; ) {
    const messages = await receiver.receiveMessages(Math.min(BATCH, left), { maxWaitTimeInMs: 10000 });
    assert.ok(messages.length > 0, `${left} of ${count} did not come`);
    if (settle) {
      await Promise.all(messages.map((message) => receiver.completeMessage(message)));
    }
    left -= messages.length;
  }
}

async function main() {
  const [connection, queue] = process.argv.slice(2, 4);
  const [count, size] = process.argv.slice(4, 6).map(Number);
  const body = Buffer.alloc(size, "x");
  const whole = Math.floor(count / BATCH) * BATCH;
  const client = new ServiceBusClient(connection);
  const sender = client.createSender(queue);
  await sender.sendMessages({ body });
  await measure("send, one by one", count, async () => {
    for (let sent = 0; sent < count; sent++) {
      await sender.sendMessages({ body });
    }
  });
  await measure("send, batches of 100", whole, async () => {
    for (let sent = 0; sent < whole; sent += BATCH) {
      await sender.sendMessages(Array.from({ length: BATCH }, () => ({ body })));
    }
  });
  const receiver = client.createReceiver(queue);
  await receive(receiver, 1, true);
  await measure("receive and complete", whole, () => receive(receiver, whole, true));
  await receiver.close();
  const deleting = client.createReceiver(queue, { receiveMode: "receiveAndDelete" });
  await measure("receive and delete", count, () => receive(deleting, count, false));
  await deleting.close();
  const rounds = Math.floor(count / IN_FLIGHT);
  await measure("send, pipelined", rounds * IN_FLIGHT, async () => {
    for (let round = 0; round < rounds; round++) {
      await Promise.all(Array.from({ length: IN_FLIGHT }, () => sender.sendMessages({ body })));
    }
  });
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
