// What the scenarios of all files share.
"use strict";

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");

const WAIT = 5000; // milliseconds to wait for messages that must come
const NOTHING = 500; // milliseconds after which a queue counts as empty

// One scenario's queue, topic and shorthands for them.
class Scenario {
  constructor(client, queue, topic, connectionString) {
    this.client = client;
    this.connectionString = connectionString;
    this.queue = queue;
    this.topic = topic;
    this.links = [];
  }

  sender() {
    return this.keep(this.client.createSender(this.queue));
  }

  subscription(name, options) {
    return this.keep(this.client.createReceiver(this.topic, name, options));
  }

  rules(subscription) {
    return this.client.createRuleManager(this.topic, subscription);
  }

  async publish(...messages) {
    await this.keep(this.client.createSender(this.topic)).sendMessages(messages);
  }

  receiver(options) {
    return this.keep(this.client.createReceiver(this.queue, options));
  }

  deadLetters() {
    return this.receiver({ subQueueType: "deadLetter" });
  }

  async send(...messages) {
    await this.sender().sendMessages(messages);
  }

  async expectEmpty() {
    const left = await this.receiver().receiveMessages(10, { maxWaitTimeInMs: NOTHING });
    assert.equal(left.length, 0, `${left.length} messages left`);
  }

  // A client that does not wait and try again for long.
  impatient() {
    const retryOptions = { timeoutInMs: 2000, maxRetries: 0 };
    return this.keep(new ServiceBusClient(this.connectionString, { retryOptions }));
  }

  keep(link) {
    this.links.push(link);
    return link;
  }

  async close() {
    await Promise.all(this.links.map((link) => link.close()));
  }
}

// Receives exactly `count` messages.
async function take(receiver, count) {
  const messages = [];
  while (messages.length < count) {
    const more = await receiver.receiveMessages(count - messages.length, { maxWaitTimeInMs: WAIT });
    assert.ok(more.length > 0, `${messages.length} of ${count} messages came`);
    messages.push(...more);
  }
  return messages;
}

async function one(receiver) {
  return (await take(receiver, 1))[0];
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000);
const bodies = (messages) => messages.map((message) => message.body);
const number = (value) => Number(value.toString());
const coded = (code) => (error) => {
  assert.equal(error.code, code, `${error.code}: ${error.message}`);
  return true;
};

module.exports = { NOTHING, WAIT, Scenario, bodies, coded, inSeconds, number, one, pause, take };
