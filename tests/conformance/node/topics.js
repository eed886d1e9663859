// Scenarios on topics, subscriptions, rules and forwarding.
"use strict";

const assert = require("node:assert/strict");
const { NOTHING, bodies, coded, inSeconds, number, one, take } = require("./common");

// The subscription holds just these messages, in this order.
async function expectBodies(t, subscription, ...expected) {
  const receiver = t.subscription(subscription);
  const messages = await take(receiver, expected.length);
  assert.deepEqual(bodies(messages), expected);
  for (const message of messages) {
    await receiver.completeMessage(message);
  }
  await expectNothing(receiver);
}

async function expectNothing(receiver) {
  const left = await receiver.receiveMessages(10, { maxWaitTimeInMs: NOTHING });
  assert.deepEqual(bodies(left), []);
}

async function rulesOf(manager) {
  const rules = [];
  for await (const rule of manager.listRules()) {
    rules.push(rule);
  }
  // This client's iterator yields one undefined where there is no rule.
  return rules.filter((rule) => rule !== undefined);
}

const refused = (error) => {
  assert.match(`${error.code} ${error.message}`, /InvalidOperation/);
  return true;
};

module.exports = {
  async "topic: a copy for every subscription"(t) {
    await t.publish({ body: "hello", messageId: "id-1", applicationProperties: { n: 7 } });
    for (const subscription of ["a", "b"]) {
      const receiver = t.subscription(subscription);
      const message = await one(receiver);
      assert.equal(message.body, "hello");
      assert.equal(message.messageId, "id-1");
      assert.deepEqual(message.applicationProperties, { n: 7 });
      assert.equal(number(message.sequenceNumber), 1);
      assert.equal(number(message.enqueuedSequenceNumber), 1);
      await receiver.completeMessage(message);
    }
  },

  async "topic: subscriptions settle on their own"(t) {
    await t.publish({ body: "m" });
    const [a, b] = [t.subscription("a"), t.subscription("b")];
    await a.deadLetterMessage(await one(a), { deadLetterReason: "Invalid" });
    await b.abandonMessage(await one(b));
    await b.abandonMessage(await one(b));
    for (const [subscription, reason] of [["a", "Invalid"], ["b", "MaxDeliveryCountExceeded"]]) {
      const receiver = t.subscription(subscription, { subQueueType: "deadLetter" });
      const message = await one(receiver);
      assert.equal(message.deadLetterReason, reason);
      await receiver.completeMessage(message);
    }
  },

  async "topic: batch send"(t) {
    const sender = t.keep(t.client.createSender(t.topic));
    const batch = await sender.createMessageBatch();
    const sent = Array.from({ length: 20 }, (_, index) => `m${index}`);
    for (const body of sent) {
      assert.ok(batch.tryAddMessage({ body }));
    }
    await sender.sendMessages(batch);
    await expectBodies(t, "a", ...sent);
    await expectBodies(t, "b", ...sent);
  },

  async "topic: schedule and cancel"(t) {
    const due = inSeconds(2);
    const sender = t.keep(t.client.createSender(t.topic));
    const numbers = await sender.scheduleMessages([{ body: "kept" }, { body: "cancelled" }], due);
    await sender.cancelScheduledMessages(numbers[1]);
    await expectBodies(t, "a", "kept");
    assert.ok(Date.now() >= due.getTime() - 1);
    await expectBodies(t, "b", "kept");
  },

  async "topic: peek shows what is scheduled"(t) {
    const sender = t.keep(t.client.createSender(t.topic));
    const [scheduled] = await sender.scheduleMessages([{ body: "later" }], inSeconds(600));
    await t.publish({ body: "now" });
    const messages = await t.keep(t.client.createReceiver(t.topic)).peekMessages(5);
    assert.deepEqual(bodies(messages), ["later"]);
    assert.equal(messages[0].sequenceNumber.toString(), scheduled.toString());
    assert.equal(messages[0].state, "scheduled");
  },

  async "topic: duplicate detection"(t) {
    await t.publish({ body: "first", messageId: "same" });
    await t.publish({ body: "second", messageId: "same" }, { body: "third", messageId: "other" });
    await expectBodies(t, "a", "first", "third");
  },

  async "topic: the smallest time to live applies"(t) {
    await t.publish({ body: "default" }, { body: "short", timeToLive: 3000 });
    for (const [subscription, life] of [["a", 600000], ["b", 3600000]]) {
      const peeked = await t.subscription(subscription).peekMessages(2);
      const lives = peeked.map((message) => message.expiresAtUtc - message.enqueuedTimeUtc);
      assert.deepEqual(lives, [life, 3000]);
    }
    const message = await one(t.subscription("b", { subQueueType: "deadLetter" }));
    assert.equal(message.deadLetterReason, "TTLExpiredException");
  },

  async "topic: receiving from it is refused"(t) {
    const receiver = t.keep(t.client.createReceiver(t.topic));
    await assert.rejects(receiver.receiveMessages(1), refused);
  },

  async "subscription: sending to it is refused"(t) {
    const sender = t.keep(t.client.createSender(`${t.topic}/Subscriptions/a`));
    await assert.rejects(sender.sendMessages({ body: "m" }), refused);
  },

  async "subscription: unknown"(t) {
    for (const subscription of ["c", "a/b"]) {
      const receiver = t.subscription(subscription);
      await assert.rejects(receiver.receiveMessages(1), coded("MessagingEntityNotFound"));
    }
  },

  async "subscription: address in any case"(t) {
    await t.publish({ body: "m" });
    const receiver = t.keep(t.client.createReceiver(t.topic.toUpperCase(), "A"));
    await receiver.deadLetterMessage(await one(receiver));
    const dead = `${t.topic}/SUBSCRIPTIONS/a/$deadletterqueue`;
    const deadLetters = t.keep(t.client.createReceiver(dead));
    await deadLetters.completeMessage(await one(deadLetters));
  },

  async "rules: correlation filter"(t) {
    const message = (body, changes) => ({
      body,
      correlationId: "corr-1",
      subject: "order",
      to: "there",
      applicationProperties: { color: "red", urgent: true, more: 1 },
      ...changes,
    });
    await t.publish(
      message("match"),
      message("no-1", { correlationId: "corr-2" }),
      message("no-2", { subject: "Order" }),
      message("no-3", { to: undefined }),
      message("no-4", { applicationProperties: { color: "red" } }),
      message("no-5", { applicationProperties: { color: "red", urgent: "True" } }),
    );
    await expectBodies(t, "a", "match");
  },

  async "rules: SQL filter"(t) {
    const message = (body, subject, applicationProperties) => ({ body, subject, applicationProperties });
    await t.publish(
      message("1", undefined, { color: "red", quantity: 10 }),
      message("no-1", undefined, { color: "red", quantity: 9 }),
      message("no-2", undefined, { color: "green", quantity: 10 }),
      message("2", "urgent_1", { color: "green" }),
      message("no-3", "urgent-1", { color: "green" }),
      message("no-4", "urgent_1", {}),
      message("3", undefined, { color: "blue", quantity: 10.5 }),
    );
    await expectBodies(t, "a", "1", "2", "3");
  },

  async "rules: unknown is neither true nor false"(t) {
    await t.publish(
      { body: "one", applicationProperties: { size: 1 } },
      { body: "two", applicationProperties: { size: 2 } },
      { body: "none" },
    );
    await expectBodies(t, "a", "two");
    await expectBodies(t, "b", "one", "none");
  },

  async "rules: an action changes its copy"(t) {
    const sent = { color: "red", quantity: 10 };
    await t.publish({ body: "m", subject: "whole", applicationProperties: sent });
    const changed = await one(t.subscription("a"));
    assert.deepEqual(changed.applicationProperties, { quantity: 5, RuleName: "halve" });
    assert.equal(changed.subject, "half");
    const original = await one(t.subscription("b"));
    assert.deepEqual(original.applicationProperties, sent);
    assert.equal(original.subject, "whole");
  },

  async "rules: a copy for each action and one for all without"(t) {
    await t.publish({ body: "m", applicationProperties: { n: 1 } });
    const receiver = t.subscription("a");
    const messages = await take(receiver, 3);
    const seen = messages.map((message) => String(message.applicationProperties.RuleName)).sort();
    assert.deepEqual(seen, ["act-1", "act-2", "undefined"]);
    await expectNothing(receiver);
  },

  async "rules: evaluation exceptions"(t) {
    await t.publish({ body: "m", applicationProperties: { color: "red" } });
    const message = await one(t.subscription("a", { subQueueType: "deadLetter" }));
    assert.equal(message.body, "m");
    assert.match(message.deadLetterErrorDescription, /wrong/);
    await expectBodies(t, "a");
    await expectBodies(t, "b");
    const dropped = t.subscription("b", { subQueueType: "deadLetter" });
    assert.deepEqual(await dropped.peekMessages(1), []);
  },

  async "rules: list, add and remove"(t) {
    const [given] = await rulesOf(t.rules("a"));
    assert.equal(given.name, "$Default");
    assert.deepEqual(given.filter, { sqlExpression: "1=1" });

    const [correlation, sql] = await rulesOf(t.rules("b"));
    assert.equal(correlation.name, "c");
    assert.equal(correlation.filter.messageId, "m");
    assert.equal(correlation.filter.correlationId, null);
    assert.deepEqual(correlation.filter.applicationProperties, { n: 1 });
    assert.equal(sql.name, "s");
    assert.deepEqual(sql.filter, { sqlExpression: "n = 1" });
    assert.deepEqual(sql.action, { sqlExpression: "SET m = 2" });

    const manager = t.rules("a");
    await manager.deleteRule("$Default");
    assert.deepEqual(await rulesOf(manager), []);
    await t.publish({ body: "nobody's" });
    await manager.createRule("red", { sqlExpression: "color = 'red'" }, { sqlExpression: "SET n = 1" });
    await manager.createRule("mine", { subject: "mine", applicationProperties: { n: 7 } });
    await t.publish(
      { body: "1", applicationProperties: { color: "red" } },
      { body: "2", subject: "mine", applicationProperties: { n: 7 } },
      { body: "no", subject: "mine" },
    );
    await expectBodies(t, "a", "1", "2");
    assert.deepEqual((await rulesOf(manager)).map((rule) => rule.name), ["red", "mine"]);
  },

  async "rules: errors"(t) {
    const manager = t.rules("a");
    await manager.createRule("r", { sqlExpression: "1=1" });
    await assert.rejects(
      manager.createRule("R", { sqlExpression: "1=0" }),
      coded("MessagingEntityAlreadyExists"),
    );
    await assert.rejects(manager.deleteRule("none"), coded("MessagingEntityNotFound"));
    for (const [filter, action] of [["color == 1"], [""], ["1=1", "color = 1"]]) {
      await assert.rejects(
        manager.createRule("x", { sqlExpression: filter }, action && { sqlExpression: action }),
        /ArgumentError/,
      );
    }
    assert.deepEqual((await rulesOf(manager)).map((rule) => rule.name), ["$Default", "r"]);
  },

  async "forwarding: queue to queue"(t) {
    await t.send({ body: "0" }, { body: "1", applicationProperties: { n: 1 } });
    const receiver = t.keep(t.client.createReceiver(`${t.queue}-next`));
    const [first, second] = await take(receiver, 2);
    assert.deepEqual(bodies([first, second]), ["0", "1"]);
    assert.deepEqual(second.applicationProperties, { n: 1 });
    assert.equal(number(second.enqueuedSequenceNumber), 2);
    await receiver.completeMessage(second);
  },

  async "forwarding: subscription to topic"(t) {
    for (const color of ["red", "blue"]) {
      await t.publish({ body: color, applicationProperties: { color } });
    }
    const receiver = t.keep(t.client.createReceiver(`${t.topic}-next`, "b"));
    assert.equal((await one(receiver)).body, "red");
    await expectNothing(receiver);
  },

  async "forwarding: dead letters"(t) {
    await t.send({ body: "q" });
    const queue = t.receiver();
    await queue.deadLetterMessage(await one(queue), { deadLetterReason: "Invalid" });
    await t.publish({ body: "s" });
    const subscription = t.subscription("a");
    await subscription.deadLetterMessage(await one(subscription), { deadLetterReason: "Invalid" });
    const messages = await take(t.keep(t.client.createReceiver(`${t.queue}-dead`)), 2);
    assert.ok(messages.every((message) => message.deadLetterReason === "Invalid"));
    const sources = messages.map((message) => message.deadLetterSource);
    assert.deepEqual(sources, [t.queue, `${t.topic}/Subscriptions/a`]);
  },

  async "forwarding: at most four hops"(t) {
    await t.send({ body: "m" });
    const last = t.keep(t.client.createReceiver(`${t.queue}-4`, { subQueueType: "deadLetter" }));
    assert.equal((await one(last)).deadLetterReason, "MaxTransferHopCountExceeded");
  },

  async "forwarding: receiving from the source is refused"(t) {
    await assert.rejects(t.receiver().receiveMessages(1), refused);
  },
};
