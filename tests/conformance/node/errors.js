// Refused tokens, full queues, a busy service and broken connections.
// ADMIN is the URL of the broker's test hooks.
"use strict";

const assert = require("node:assert/strict");
const crypto = require("node:crypto");
const { ServiceBusClient } = require("@azure/service-bus");
const { bodies, coded, one } = require("./common");

const connectionString = process.argv[2];
const NO_RETRIES = { maxRetries: 0, timeoutInMs: 10000 };
const RETRIES = { maxRetries: 3, retryDelayInMs: 100, timeoutInMs: 10000 };

// Uses one of the broker's test hooks.
async function admin(path, what) {
  const url = `${process.env.ADMIN}/_admin/${path}`;
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(what) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
  const text = await answer.text();
  return text === "" ? null : JSON.parse(text);
}

// Does something with a client of its own.
async function connected(text, retryOptions, work) {
  const client = new ServiceBusClient(text, { retryOptions });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

function withKey(name, key) {
  return connectionString
    .replace(/SharedAccessKeyName=[^;]*/, `SharedAccessKeyName=${name}`)
    .replace(/SharedAccessKey=[^;]*/, `SharedAccessKey=${key}`);
}

// A connection string that holds a token instead of a key.
function withSignature(queue, expiry) {
  const host = /sb:\/\/([^;/]*)/.exec(connectionString)[1];
  const resource = encodeURIComponent(`sb://${host}/${queue}`);
  const signature = crypto.createHmac("sha256", "local").update(`${resource}\n${expiry}`).digest("base64");
  const fields = `sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=RootManageSharedAccessKey`;
  return `Endpoint=sb://${host};SharedAccessSignature=SharedAccessSignature ${fields};UseDevelopmentEmulator=true;`;
}

const seconds = (offset) => Math.floor(Date.now() / 1000) + offset;

async function expectRefused(t, text, { sending = true, receiving = true } = {}) {
  await connected(text, NO_RETRIES, async (client) => {
    if (sending) {
      const sent = client.createSender(t.queue).sendMessages({ body: "a" });
      await assert.rejects(sent, coded("UnauthorizedAccess"));
    }
    if (receiving) {
      const received = client.createReceiver(t.queue).receiveMessages(1, { maxWaitTimeInMs: 1000 });
      await assert.rejects(received, coded("UnauthorizedAccess"));
    }
  });
}

async function completeOne(receiver, expected) {
  const message = await one(receiver);
  assert.equal(message.body, expected);
  await receiver.completeMessage(message);
}

// Receives on one receiver before and after its connection was disturbed.
async function resumedAfter(t, what) {
  await connected(connectionString, RETRIES, async (client) => {
    const receiver = client.createReceiver(t.queue);
    await connected(connectionString, RETRIES, async (other) => {
      await other.createSender(t.queue).sendMessages({ body: "a" });
    });
    await completeOne(receiver, "a");
    const { told } = await admin("disturb", { whom: { entity: t.queue }, what });
    assert.equal(told, 1);
    await connected(connectionString, RETRIES, async (other) => {
      await other.createSender(t.queue).sendMessages({ body: "b" });
    });
    await completeOne(receiver, "b");
  });
}

module.exports = {
  async "error: wrong key"(t) {
    await expectRefused(t, withKey("RootManageSharedAccessKey", "wrong"));
  },

  async "error: unknown key name"(t) {
    await expectRefused(t, withKey("Nobody", "local"));
  },

  async "error: send without Send"(t) {
    const text = withKey("listener", "listen-only");
    await expectRefused(t, text, { receiving: false });
    await t.send({ body: "a" });
    await connected(text, NO_RETRIES, (client) => completeOne(client.createReceiver(t.queue), "a"));
  },

  async "error: receive without Listen"(t) {
    const text = withKey("sender", "send-only");
    await expectRefused(t, text, { sending: false });
    await connected(text, NO_RETRIES, (client) => client.createSender(t.queue).sendMessages({ body: "a" }));
    await completeOne(t.receiver(), "a");
  },

  async "error: shared access signature"(t) {
    await connected(withSignature(t.queue, seconds(600)), NO_RETRIES, async (client) => {
      await client.createSender(t.queue).sendMessages({ body: "a" });
      await completeOne(client.createReceiver(t.queue), "a");
    });
  },

  async "error: expired shared access signature"(t) {
    await expectRefused(t, withSignature(t.queue, seconds(-60)));
  },

  async "error: signature for another queue"(t) {
    await expectRefused(t, withSignature(`${t.queue}-other`, seconds(600)));
  },

  async "error: entity quota exceeded"(t) {
    await t.send({ body: "x".repeat(2000) });
    await connected(connectionString, NO_RETRIES, async (client) => {
      const sent = client.createSender(t.queue).sendMessages({ body: "a" });
      await assert.rejects(sent, coded("QuotaExceeded"));
    });
    await completeOne(t.receiver(), "x".repeat(2000));
    await t.send({ body: "b" });
  },

  async "error: server busy, then success"(t) {
    const refuse = { condition: "com.microsoft:server-busy", description: "busy" };
    const script = { entity: t.queue, operation: "send", fault: { refuse } };
    await admin("script", script);
    await connected(connectionString, NO_RETRIES, async (client) => {
      const sent = client.createSender(t.queue).sendMessages({ body: "a" });
      await assert.rejects(sent, coded("ServiceBusy"));
    });
    await admin("script", { ...script, times: 2 });
    await connected(connectionString, RETRIES, (client) =>
      client.createSender(t.queue).sendMessages({ body: "b" }),
    );
    await completeOne(t.receiver(), "b");
  },

  async "error: connection reset while receiving"(t) {
    await resumedAfter(t, "reset");
  },

  async "error: connection cut in the middle of a frame"(t) {
    await resumedAfter(t, "half_frame");
  },

  async "error: connection closed by the service"(t) {
    await resumedAfter(t, { close: { description: "moved" } });
  },

  async "error: link detached by the service"(t) {
    await resumedAfter(t, { detach: { description: "idle" } });
  },

  async "error: lock lost on demand"(t) {
    await t.send({ body: "a" });
    const receiver = t.receiver();
    const message = await one(receiver);
    assert.equal((await admin("lose-locks", { entity: t.queue })).lost, 1);
    await assert.rejects(receiver.completeMessage(message), coded("MessageLockLost"));
    const again = await one(receiver);
    assert.equal(again.deliveryCount, 1);
    await receiver.completeMessage(again);
  },

  async "error: confirmation lost"(t) {
    // The message is taken and the connection cut: the client sends again, detection folds it.
    const fault = { connection: "reset" };
    const cut = { entity: t.queue, operation: "send", after: true, fault };
    await admin("script", cut);
    await connected(connectionString, RETRIES, (client) =>
      client.createSender(t.queue).sendMessages({ body: "b", messageId: "1" }),
    );
    assert.deepEqual(bodies(await t.receiver().peekMessages(5)), ["b"]);
  },
};
