// How fast Azure's JavaScript client sends and receives. `tests/conformance/bench` explains how it is run.
"use strict";

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");

const BATCH = 100;
const IN_FLIGHT = 64;

async function measure(name, way, messages, work) {
  const started = process.hrtime.bigint();
  await work();
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(JSON.stringify({ measure: name, way, messages, seconds }));
}

// As many at a time as the window has places, each the next one as soon as it is done.
async function inWindow(count, send) {
  let left = count;
  const place = async () => {
    while (left-- > 0) {
      await send();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, place));
}

async function fill(sender, body, count) {
  for (let sent = 0; sent < count; sent += BATCH) {
    await sender.sendMessages(Array.from({ length: BATCH }, () => ({ body })));
  }
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

// The client's other way: it keeps the credit up by itself, and calls back.
async function subscribe(receiver, count, settle) {
  let left = count;
  await new Promise((resolve, reject) => {
    receiver.subscribe(
      {
        processMessage: async (message) => {
          if (settle) {
            await receiver.completeMessage(message);
          }
          left -= 1;
          if (left === 0) {
            resolve();
          }
        },
        processError: async ({ error }) => reject(error),
      },
      { autoCompleteMessages: false, maxConcurrentCalls: BATCH },
    );
  });
}

async function main() {
  const [connection, queue] = process.argv.slice(2, 4);
  const [count, size] = process.argv.slice(4, 6).map(Number);
  const body = Buffer.alloc(size, "x");
  const whole = Math.floor(count / BATCH) * BATCH;
  const client = new ServiceBusClient(connection);
  const sender = client.createSender(queue);
  // Connected, authorized and attached: that is not what is measured.
  await sender.sendMessages({ body });
  await measure("send, one by one", "sendMessages", whole, async () => {
    for (let sent = 0; sent < whole; sent++) {
      await sender.sendMessages({ body });
    }
  });
  await measure("send, pipelined", "sendMessages", whole, () => inWindow(whole, () => sender.sendMessages({ body })));
  await measure("send, batches of 100", "sendMessages", whole, () => fill(sender, body, whole));
  await fill(sender, body, whole);
  for (const [mode, name] of [
    ["peekLock", "receive and complete"],
    ["receiveAndDelete", "receive and delete"],
  ]) {
    const settle = mode === "peekLock";
    const receiver = client.createReceiver(queue, { receiveMode: mode });
    await receive(receiver, 1, settle);
    await measure(name, "receiveMessages", whole, () => receive(receiver, whole, settle));
    await receiver.close();
    const subscriber = client.createReceiver(queue, { receiveMode: mode });
    // The warm-up took some, and what is taken by the last credit is not counted.
    const some = whole - BATCH;
    await measure(name, "subscribe", some, () => subscribe(subscriber, some, settle));
    await subscriber.close();
  }
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
