// Scenarios about sessions.
"use strict";

const assert = require("node:assert/strict");
const Long = require("long");

const { NOTHING, bodies, coded, inSeconds, one, pause, take } = require("./common");

const message = (sessionId, body) => ({ sessionId, body });
// Sessions that the client renews by itself never expire.
const unrenewed = { maxAutoLockRenewalDurationInMs: 0 };

async function accept(t, session, options) {
  return t.keep(await t.client.acceptSession(t.queue, session, options));
}

module.exports = {
  async "session: named"(t) {
    await t.send(message("s", "a"), message("t", "x"), message("s", "b"));
    const receiver = await accept(t, "s");
    assert.equal(receiver.sessionId, "s");
    assert.ok(receiver.sessionLockedUntilUtc > inSeconds(50));
    const messages = await take(receiver, 2);
    assert.deepEqual(bodies(messages), ["a", "b"]);
    assert.equal(messages[0].sessionId, "s");
    for (const received of messages) {
      await receiver.completeMessage(received);
    }
    assert.deepEqual(await receiver.receiveMessages(1, { maxWaitTimeInMs: NOTHING }), []);
  },

  async "session: next available"(t) {
    await t.send(message("b", "1"), message("a", "2"));
    const seen = [];
    for (let turn = 0; turn < 2; turn += 1) {
      const receiver = t.keep(await t.client.acceptNextSession(t.queue));
      seen.push(receiver.sessionId);
      await receiver.completeMessage(await one(receiver));
      await receiver.close();
    }
    assert.deepEqual(seen.sort(), ["a", "b"]);
  },

  async "session: state"(t) {
    await t.send(message("s", "a"));
    const first = await accept(t, "s");
    assert.ok(!(await first.getSessionState()));
    await first.setSessionState({ step: "half done" });
    await first.close();
    const second = await accept(t, "s");
    assert.deepEqual(await second.getSessionState(), { step: "half done" });
  },

  async "session: renew lock"(t) {
    await t.send(message("s", "a"));
    const receiver = await accept(t, "s", unrenewed);
    const before = receiver.sessionLockedUntilUtc.getTime();
    await pause(50);
    const after = await receiver.renewSessionLock();
    assert.ok(after.getTime() > before);
    await receiver.completeMessage(await one(receiver));
  },

  async "session: cannot be locked"(t) {
    await t.send(message("s", "a"));
    await one(await accept(t, "s"));
    const impatient = t.impatient();
    await assert.rejects(impatient.acceptSession(t.queue, "s"), coded("SessionCannotBeLocked"));
  },

  async "session: none in time"(t) {
    const impatient = t.impatient();
    await assert.rejects(impatient.acceptNextSession(t.queue), coded("ServiceTimeout"));
  },

  async "session: order after abandon"(t) {
    await t.send(...[0, 1, 2].map((index) => message("s", `m${index}`)));
    const receiver = await accept(t, "s");
    await receiver.abandonMessage(await one(receiver));
    const messages = await take(receiver, 3);
    assert.deepEqual(bodies(messages), ["m0", "m1", "m2"]);
    assert.deepEqual(messages.map((received) => received.deliveryCount), [1, 0, 0]);
  },

  async "session: two in parallel"(t) {
    const indexes = [0, 1, 2, 3, 4];
    await t.send(...indexes.flatMap((index) => [message("s", `s${index}`), message("t", `t${index}`)]));
    const [first, second] = [await accept(t, "s"), await accept(t, "t")];
    assert.deepEqual(bodies(await take(second, 5)), indexes.map((index) => `t${index}`));
    assert.deepEqual(bodies(await take(first, 5)), indexes.map((index) => `s${index}`));
  },

  async "session: message without a session id"(t) {
    await assert.rejects(t.send({ body: "a" }), /SessionId was not set/);
    await t.send(message("s", "b"));
  },

  async "session: plain receiver"(t) {
    await t.send(message("s", "a"));
    const receiving = t.receiver().receiveMessages(1, { maxWaitTimeInMs: NOTHING });
    await assert.rejects(receiving, /non-sessionful message receiver/);
  },

  async "session: receiver on a plain queue"(t) {
    await t.send(message("s", "a"));
    // For want of a granted session the client itself makes this of the service's refusal.
    await assert.rejects(t.client.acceptSession(t.queue, "s"), coded("SessionCannotBeLocked"));
    // There a session id is a property like others.
    assert.equal((await one(t.receiver())).sessionId, "s");
  },

  async "session: lock expiry"(t) {
    await t.send(message("s", "a"));
    const receiver = await accept(t, "s", unrenewed);
    const received = await one(receiver);
    await pause(receiver.sessionLockedUntilUtc - Date.now() + 300);
    await assert.rejects(receiver.completeMessage(received), coded("SessionLockLost"));
    const second = await accept(t, "s");
    const again = await one(second);
    assert.equal(again.deliveryCount, 1);
    await second.completeMessage(again);
  },

  async "session: peek"(t) {
    await t.send(message("s", "a"), message("t", "x"), message("s", "b"));
    const receiver = await accept(t, "s");
    assert.deepEqual(bodies(await receiver.peekMessages(9)), ["a", "b"]);
    // Without a session, across all of them. The client goes on where its last peek ended.
    const fromSequenceNumber = Long.fromNumber(1);
    const all = await t.receiver().peekMessages(9, { fromSequenceNumber });
    assert.deepEqual(bodies(all), ["a", "x", "b"]);
  },

  async "session: deferral"(t) {
    await t.send(message("s", "a"), message("s", "b"));
    const receiver = await accept(t, "s");
    const [first, second] = await take(receiver, 2);
    await receiver.deferMessage(first);
    await receiver.completeMessage(second);
    await receiver.close();
    const later = await accept(t, "s");
    const [found] = await later.receiveDeferredMessages(first.sequenceNumber);
    assert.equal(found.body, "a");
    await later.completeMessage(found);
    assert.deepEqual(await later.peekMessages(9), []);
  },

  async "session: schedule"(t) {
    await t.sender().scheduleMessages([message("s", "later")], inSeconds(1));
    await t.send(message("s", "now"));
    assert.deepEqual(bodies(await take(await accept(t, "s"), 2)), ["now", "later"]);
  },

  async "session: dead letters keep their session id"(t) {
    await t.send(message("s", "a"));
    const receiver = await accept(t, "s");
    await receiver.deadLetterMessage(await one(receiver), { deadLetterReason: "Invalid" });
    const dead = await one(t.deadLetters());
    assert.deepEqual([dead.sessionId, dead.deadLetterReason], ["s", "Invalid"]);
  },

  async "session: closing gives back uncounted"(t) {
    await t.send(message("s", "a"), message("s", "b"));
    const receiver = await accept(t, "s");
    await take(receiver, 2);
    await receiver.close();
    const messages = await take(await accept(t, "s"), 2);
    assert.deepEqual(bodies(messages), ["a", "b"]);
    assert.deepEqual(messages.map((received) => received.deliveryCount), [0, 0]);
  },
};
