// Scenarios for Azure's JavaScript client. `tests/conformance/run` explains how they are run.
"use strict";

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");
const { WAIT, Scenario, bodies, coded, inSeconds, number, one, pause, take } = require("./common");
const errors = require("./errors");
const sessions = require("./sessions");
const topics = require("./topics");

const scenarios = {
  async "send"(t) {
    const sent = {
      body: { hello: "world" },
      messageId: "id-1",
      correlationId: "corr-1",
      subject: "greeting",
      contentType: "application/json",
      to: "there",
      replyTo: "here",
      partitionKey: "part",
    };
    await t.send(sent);
    const receiver = t.receiver();
    const message = await one(receiver);
    for (const [name, value] of Object.entries(sent)) {
      assert.deepEqual(message[name], value, name);
    }
    assert.equal(number(message.sequenceNumber), 1);
    assert.equal(message.deliveryCount, 0);
    assert.ok(Math.abs(message.enqueuedTimeUtc - Date.now()) < 30000);
    await receiver.completeMessage(message);
  },

  async "batch send"(t) {
    const sender = t.sender();
    const batch = await sender.createMessageBatch();
    const ids = Array.from({ length: 50 }, (_, index) => `id-${index}`);
    for (const id of ids) {
      assert.ok(batch.tryAddMessage({ body: `of ${id}`, messageId: id }));
    }
    await sender.sendMessages(batch);
    const messages = await take(t.receiver(), 50);
    assert.deepEqual(messages.map((message) => message.messageId), ids);
    assert.deepEqual(bodies(messages), ids.map((id) => `of ${id}`));
  },

  async "scheduled send"(t) {
    const due = inSeconds(2);
    await t.send({ body: "later", scheduledEnqueueTimeUtc: due }, { body: "now" });
    const [first, second] = await take(t.receiver(), 2);
    assert.ok(Date.now() >= due.getTime() - 1);
    assert.deepEqual(bodies([first, second]), ["now", "later"]);
    assert.ok(number(second.sequenceNumber) > number(second.enqueuedSequenceNumber ?? 0));
    assert.ok(Math.abs(second.enqueuedTimeUtc - due) < 2);
  },

  async "schedule and cancel"(t) {
    const sender = t.sender();
    const numbers = await sender.scheduleMessages([{ body: "kept" }, { body: "cancelled" }], inSeconds(2));
    assert.equal(new Set(numbers.map(String)).size, 2);
    await sender.cancelScheduledMessages(numbers[1]);
    await assert.rejects(sender.cancelScheduledMessages(numbers[1]), coded("MessageNotFound"));
    assert.equal((await one(t.receiver())).body, "kept");
    await t.expectEmpty();
  },

  async "peek"(t) {
    await t.send(...[0, 1, 2, 3, 4].map((index) => ({ body: `m${index}` })));
    const receiver = t.receiver();
    assert.deepEqual(bodies(await receiver.peekMessages(3)), ["m0", "m1", "m2"]);
    assert.deepEqual(bodies(await receiver.peekMessages(9)), ["m3", "m4"]);
    assert.deepEqual(await receiver.peekMessages(1), []);
    const Long = require("long");
    const peeked = await receiver.peekMessages(9, { fromSequenceNumber: Long.fromNumber(2) });
    assert.deepEqual(peeked.map((message) => number(message.sequenceNumber)), [2, 3, 4, 5]);
    assert.ok(peeked.every((message) => message.lockedUntilUtc === undefined));
    // Nothing was locked.
    assert.equal((await take(receiver, 5)).length, 5);
  },

  async "peek scheduled"(t) {
    const due = inSeconds(600);
    const [scheduled] = await t.sender().scheduleMessages([{ body: "later" }], due);
    const messages = await t.receiver().peekMessages(5);
    assert.equal(messages.length, 1);
    assert.equal(messages[0].sequenceNumber.toString(), scheduled.toString());
    assert.equal(messages[0].state, "scheduled");
    assert.ok(Math.abs(messages[0].scheduledEnqueueTimeUtc - due) < 2);
    await t.expectEmpty();
  },

  async "peek-lock and complete"(t) {
    await t.send({ body: "a" }, { body: "b" });
    const receiver = t.receiver();
    const messages = await take(receiver, 2);
    assert.match(messages[0].lockToken, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.ok(messages[0].lockedUntilUtc > inSeconds(50));
    // Locked for others.
    await t.expectEmpty();
    for (const message of messages) {
      await receiver.completeMessage(message);
    }
    assert.deepEqual(await receiver.peekMessages(5), []);
  },

  async "abandon"(t) {
    await t.send({ body: "a" });
    const receiver = t.receiver();
    for (const count of [0, 1, 2]) {
      const message = await one(receiver);
      assert.equal(message.deliveryCount, count);
      assert.equal(message.applicationProperties?.attempt, count === 0 ? undefined : count);
      await receiver.abandonMessage(message, { attempt: count + 1 });
    }
    await receiver.completeMessage(await one(receiver));
  },

  async "dead-letter with reason"(t) {
    await t.send({ body: "a", applicationProperties: { kept: 7 } });
    const receiver = t.receiver();
    await receiver.deadLetterMessage(await one(receiver), {
      deadLetterReason: "Invalid",
      deadLetterErrorDescription: "no such thing",
      added: "too",
    });
    const [message] = await t.deadLetters().peekMessages(5);
    assert.equal(message.deadLetterReason, "Invalid");
    assert.equal(message.deadLetterErrorDescription, "no such thing");
    assert.equal(message.applicationProperties.kept, 7);
    assert.equal(message.applicationProperties.added, "too");
    await t.expectEmpty();
  },

  async "receive from the dead-letter queue"(t) {
    await t.send({ body: "a" });
    const receiver = t.receiver();
    await receiver.deadLetterMessage(await one(receiver), { deadLetterReason: "Invalid" });
    const deadLetters = t.deadLetters();
    const message = await one(deadLetters);
    assert.equal(message.deadLetterReason, "Invalid");
    await deadLetters.abandonMessage(message);
    await deadLetters.completeMessage(await one(deadLetters));
    assert.deepEqual(await deadLetters.peekMessages(5), []);
  },

  async "defer and receive deferred"(t) {
    await t.send({ body: "a" }, { body: "b" });
    const receiver = t.receiver();
    const numbers = [];
    for (const message of await take(receiver, 2)) {
      numbers.push(message.sequenceNumber);
      await receiver.deferMessage(message);
    }
    await t.expectEmpty();
    const states = (await receiver.peekMessages(5)).map((message) => message.state);
    assert.deepEqual(states, ["deferred", "deferred"]);
    const [first, second] = await receiver.receiveDeferredMessages(numbers);
    assert.equal(first.body, "a");
    await receiver.completeMessage(first);
    await receiver.deadLetterMessage(second, { deadLetterReason: "Late" });
    assert.deepEqual(await receiver.peekMessages(5), []);
    await assert.rejects(receiver.receiveDeferredMessages(numbers), coded("MessageNotFound"));
  },

  async "renew lock"(t) {
    await t.send({ body: "a" });
    const receiver = t.receiver();
    const message = await one(receiver);
    const before = message.lockedUntilUtc.getTime();
    await pause(50);
    const after = await receiver.renewMessageLock(message);
    assert.ok(after.getTime() > before);
    await receiver.completeMessage(message);
  },

  async "lock expiry leads to redelivery"(t) {
    await t.send({ body: "a" });
    // Locks that the client renews by itself never expire.
    const receiver = t.receiver({ maxAutoLockRenewalDurationInMs: 0 });
    const first = await one(receiver);
    const again = await one(receiver);
    assert.ok(Date.now() >= first.lockedUntilUtc.getTime());
    assert.equal(again.deliveryCount, 1);
    assert.notEqual(again.lockToken, first.lockToken);
    await receiver.completeMessage(again);
  },

  async "MaxDeliveryCount leads to the dead-letter queue"(t) {
    await t.send({ body: "a" });
    const receiver = t.receiver();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await receiver.abandonMessage(await one(receiver));
    }
    await t.expectEmpty();
    assert.equal((await one(t.deadLetters())).deadLetterReason, "MaxDeliveryCountExceeded");
  },

  async "receive-and-delete"(t) {
    await t.send(...Array.from({ length: 20 }, (_, index) => ({ body: index })));
    const receiver = t.receiver({ receiveMode: "receiveAndDelete" });
    const messages = await take(receiver, 20);
    assert.equal(messages[0].lockedUntilUtc, undefined);
    assert.deepEqual(await receiver.peekMessages(5), []);
  },

  async "application property types"(t) {
    const sent = {
      text: "grüße",
      true: true,
      int: 7,
      long: 2 ** 40,
      negative: -(2 ** 40),
      float: 1.5,
      null: null,
      when: new Date("2026-01-05T08:00:00Z"),
    };
    await t.send({ body: "a", applicationProperties: sent });
    const { applicationProperties: got } = await one(t.receiver());
    // Timestamps come back as milliseconds since 1970.
    assert.deepEqual(got, { ...sent, when: sent.when.getTime() });
  },

  async "200 kB body"(t) {
    const sent = Buffer.from(Array.from({ length: 200000 }, (_, index) => index % 251));
    await t.send({ body: sent });
    const receiver = t.receiver();
    const message = await one(receiver);
    assert.ok(sent.equals(message.body));
    await receiver.completeMessage(message);
  },

  async "too large a message"(t) {
    const large = { body: Buffer.alloc(300000) };
    await assert.rejects(t.sender().sendMessages(large), coded("MessageSizeExceeded"));
    await t.send({ body: "small" });
    assert.equal((await one(t.receiver())).body, "small");
  },

  async "unknown queue"(t) {
    for (const name of [`${t.queue}-unknown`, `${t.queue}/unknown`]) {
      const sender = t.keep(t.client.createSender(name));
      await assert.rejects(sender.sendMessages({ body: "a" }), coded("MessagingEntityNotFound"));
      const receiver = t.keep(t.client.createReceiver(name));
      await assert.rejects(receiver.receiveMessages(1), coded("MessagingEntityNotFound"));
    }
  },

  async "duplicate detection"(t) {
    await t.send({ body: "first", messageId: "same" });
    await t.send({ body: "second", messageId: "same" });
    await t.send({ body: "third", messageId: "other" });
    const receiver = t.receiver();
    const messages = await take(receiver, 2);
    assert.deepEqual(bodies(messages), ["first", "third"]);
    for (const message of messages) {
      await receiver.completeMessage(message);
    }
    await t.send({ body: "fourth", messageId: "same" });
    assert.deepEqual(await receiver.peekMessages(5), []);
  },

  async "settle after the lock is lost"(t) {
    await t.send({ body: "a" });
    const receiver = t.receiver({ maxAutoLockRenewalDurationInMs: 0 });
    const first = await one(receiver);
    const again = await one(receiver);
    await assert.rejects(receiver.completeMessage(first), coded("MessageLockLost"));
    await assert.rejects(receiver.renewMessageLock(first), coded("MessageLockLost"));
    await receiver.completeMessage(again);
  },

  async "two receivers compete"(t) {
    const sent = Array.from({ length: 200 }, (_, index) => `m${index}`);
    await t.send(...sent.map((body) => ({ body })));
    const taken = [];
    const work = async () => {
      const receiver = t.receiver();
      for (;;) {
        const messages = await receiver.receiveMessages(7, { maxWaitTimeInMs: 1000 });
        if (messages.length === 0) {
          return;
        }
        await Promise.all(messages.map((message) => receiver.completeMessage(message)));
        taken.push(...bodies(messages));
      }
    };
    await Promise.all([work(), work()]);
    assert.deepEqual(taken.sort(), sent.sort());
  },

  async "time to live"(t) {
    await t.send({ body: "short", timeToLive: 1000 }, { body: "long" });
    const [short] = await t.receiver().peekMessages(5);
    assert.equal(short.expiresAtUtc - short.enqueuedTimeUtc, 1000);
    assert.equal((await one(t.deadLetters())).deadLetterReason, "TTLExpiredException");
    assert.equal((await one(t.receiver())).body, "long");
  },

  async "continuous receive"(t) {
    const got = [];
    const errors = [];
    const receiver = t.receiver();
    const done = new Promise((resolve) => {
      receiver.subscribe({
        async processMessage(message) {
          got.push(message.body);
          if (got.length === 5) {
            resolve();
          }
        },
        async processError({ error }) {
          errors.push(error);
        },
      });
    });
    for (let index = 0; index < 5; index += 1) {
      await t.send({ body: `m${index}` });
    }
    await Promise.race([done, pause(WAIT)]);
    await receiver.close();
    assert.deepEqual(errors, []);
    assert.deepEqual(got, ["m0", "m1", "m2", "m3", "m4"]);
    await t.expectEmpty();
  },
  ...errors,
  ...sessions,
  ...topics,
};

async function main() {
  const [connectionString, plan] = process.argv.slice(2);
  const client = new ServiceBusClient(connectionString);
  for (const { name, queue, topic } of JSON.parse(plan)) {
    const started = Date.now();
    const scenario = new Scenario(client, queue, topic, connectionString);
    let error = null;
    try {
      await scenarios[name](scenario);
      await scenario.close();
    } catch (reason) {
      error = reason.stack ?? String(reason);
    }
    const seconds = (Date.now() - started) / 1000;
    console.log(JSON.stringify({ name, error, seconds }));
  }
  await client.close();
}

main();
