// Scenarios for the official JavaScript client. `tests/conformance/vault/run` explains how they are run.
"use strict";

const assert = require("node:assert/strict");
const { ManagedIdentityCredential } = require("@azure/identity");
const { SecretClient } = require("@azure/keyvault-secrets");

const DAY = 24 * 60 * 60 * 1000;

function connect(url, options) {
  return new SecretClient(url, new ManagedIdentityCredential(), {
    disableChallengeResourceVerification: true,
    ...options,
  });
}

// One scenario's mark, which begins the names of its secrets, and shorthands.
class Scenario {
  constructor(url, client, name) {
    this.url = url;
    this.client = client;
    this.name = name;
  }

  async set(value = "s3cret", options = {}) {
    return await this.client.setSecret(this.name, value, options);
  }

  async value(version) {
    return (await this.client.getSecret(this.name, { version })).value;
  }

  async update(properties, version) {
    const current = version ?? (await this.client.getSecret(this.name)).properties.version;
    return await this.client.updateSecretProperties(this.name, current, properties);
  }

  // What the vault is to answer next.
  async fail(faults) {
    const response = await fetch(`${this.url}/_admin/faults`, { method: "POST", body: JSON.stringify(faults) });
    assert.ok(response.ok, await response.text());
  }

  // All calls for the secret.
  async seen() {
    const calls = await (await fetch(`${this.url}/_admin/requests`)).json();
    return calls.filter((call) => call.secret === this.name);
  }

  async delete() {
    const poller = await this.client.beginDeleteSecret(this.name, { intervalInMs: 50 });
    return await poller.pollUntilDone();
  }
}

function failure(status, code, inner) {
  return (error) => {
    assert.equal(error.statusCode, status, error.message);
    assert.equal(error.code, code);
    assert.equal(error.details.error?.innerError?.code, inner, JSON.stringify(error.details));
    return true;
  };
}

async function all(items) {
  const found = [];
  for await (const item of items) {
    found.push(item);
  }
  return found;
}

const scenarios = {
  async "set and get"(t) {
    const kept = await t.set();
    assert.equal(kept.value, "s3cret");
    assert.equal(kept.properties.version.length, 32);
    const read = await t.client.getSecret(t.name);
    assert.equal(read.value, "s3cret");
    assert.equal(read.name, t.name);
    assert.equal(read.properties.enabled, true);
    assert.equal(read.properties.version, kept.properties.version);
    assert.equal(read.properties.recoveryLevel, "Recoverable+Purgeable");
    assert.ok(Math.abs(read.properties.createdOn.getTime() - Date.now()) < 600_000);
  },

  async "a new version answers, the old one by its id"(t) {
    const old = (await t.set("old")).properties.version;
    const recent = (await t.set("new")).properties.version;
    assert.notEqual(old, recent);
    assert.equal(await t.value(), "new");
    assert.equal(await t.value(old), "old");
  },

  async "versions in pages"(t) {
    const kept = new Set();
    for (let number = 0; number < 5; number += 1) {
      kept.add((await t.set(`${number}`)).properties.version);
    }
    const pages = [];
    for await (const page of t.client.listPropertiesOfSecretVersions(t.name).byPage({ maxPageSize: 2 })) {
      pages.push(page.map((item) => item.version));
    }
    assert.deepEqual(pages.map((page) => page.length), [2, 2, 1]);
    assert.deepEqual(new Set(pages.flat()), kept);
  },

  async "list of secrets, without values"(t) {
    await t.set();
    const mine = (await all(t.client.listPropertiesOfSecrets())).filter((item) => item.name === t.name);
    assert.equal(mine.length, 1);
    assert.equal(mine[0].version, undefined);
    assert.ok(!JSON.stringify(mine).includes("s3cret"));
  },

  async "content type and tags"(t) {
    await t.set("s3cret", { contentType: "text/plain", tags: { owner: "sync" } });
    const read = (await t.client.getSecret(t.name)).properties;
    assert.equal(read.contentType, "text/plain");
    assert.deepEqual(read.tags, { owner: "sync" });
    const changed = await t.update({ contentType: "application/json", tags: { owner: "erp" } });
    assert.equal(changed.contentType, "application/json");
    assert.deepEqual(changed.tags, { owner: "erp" });
    assert.equal(await t.value(), "s3cret");
  },

  async "not before and expiry are told, and do not stop a read"(t) {
    const now = Math.floor(Date.now() / 1000) * 1000;
    const at = (days) => new Date(now + days * DAY);
    await t.set("s3cret", { notBefore: at(1), expiresOn: at(2) });
    let read = await t.client.getSecret(t.name);
    assert.equal(read.value, "s3cret");
    assert.deepEqual([read.properties.notBefore, read.properties.expiresOn], [at(1), at(2)]);
    await t.update({ notBefore: at(-2), expiresOn: at(-1) });
    read = await t.client.getSecret(t.name);
    assert.equal(read.value, "s3cret");
    assert.deepEqual(read.properties.expiresOn, at(-1));
  },

  async "disabled and enabled again"(t) {
    const version = (await t.set()).properties.version;
    await t.update({ enabled: false }, version);
    await assert.rejects(t.value(), failure(403, "Forbidden", "SecretDisabled"));
    assert.equal((await t.update({ enabled: true }, version)).enabled, true);
    assert.equal(await t.value(), "s3cret");
  },

  async "an old version disabled"(t) {
    const old = (await t.set("old")).properties.version;
    await t.set("new");
    await t.update({ enabled: false }, old);
    await assert.rejects(t.value(old), failure(403, "Forbidden", "SecretDisabled"));
    assert.equal(await t.value(), "new");
  },

  async "delete"(t) {
    await t.set();
    const deleted = await t.delete();
    assert.equal(deleted.name, t.name);
    assert.ok(deleted.properties.recoveryId.endsWith(`/deletedsecrets/${t.name}`));
    assert.equal(deleted.properties.scheduledPurgeDate - deleted.properties.deletedOn, 90 * DAY);
    await assert.rejects(t.value(), failure(404, "SecretNotFound"));
    assert.ok((await all(t.client.listDeletedSecrets())).some((item) => item.name === t.name));
    assert.equal((await t.client.getDeletedSecret(t.name)).name, t.name);
  },

  async "a deleted name cannot be set"(t) {
    await t.set();
    await t.delete();
    await assert.rejects(t.set("again"), failure(409, "Conflict", "ObjectIsDeletedButRecoverable"));
  },

  async "recover"(t) {
    const old = (await t.set("old")).properties.version;
    await t.set("new");
    await t.delete();
    const poller = await t.client.beginRecoverDeletedSecret(t.name, { intervalInMs: 50 });
    assert.equal((await poller.pollUntilDone()).name, t.name);
    assert.deepEqual([await t.value(), await t.value(old)], ["new", "old"]);
  },

  async "purge"(t) {
    await t.set();
    await t.delete();
    await t.client.purgeDeletedSecret(t.name);
    await assert.rejects(t.client.getDeletedSecret(t.name), failure(404, "SecretNotFound"));
    assert.equal((await t.set("again")).value, "again");
  },

  async "names know no case"(t) {
    await t.set();
    assert.equal((await t.client.getSecret(t.name.toUpperCase())).value, "s3cret");
  },

  async "error: unknown secret"(t) {
    await assert.rejects(t.value(), failure(404, "SecretNotFound"));
  },

  async "error: unknown version"(t) {
    await t.set();
    await assert.rejects(t.value("0".repeat(32)), failure(404, "SecretNotFound"));
  },

  async "error: invalid name"(t) {
    await assert.rejects(t.client.setSecret(`${t.name}_underscore`, "s3cret"), failure(400, "BadParameter"));
  },

  async "throttled: waits as told and reads"(t) {
    await t.set();
    await t.fail({ fail_with: 429, fail_next: 1, retry_after_s: 1 });
    const started = Date.now();
    assert.equal(await t.value(), "s3cret");
    // Its timers may end a little early.
    assert.ok(Date.now() - started >= 990);
    assert.deepEqual((await t.seen()).map((call) => call.status).slice(-2), [429, 200]);
  },

  async "throttled: gives up"(t) {
    await t.set();
    const client = connect(t.url, { retryOptions: { maxRetries: 0 } });
    await t.fail({ fail_with: 429, fail_next: 1, retry_after_s: null });
    await assert.rejects(client.getSecret(t.name), failure(429, "Throttled"));
  },

  async "unavailable for a moment"(t) {
    await t.set();
    await t.fail({ fail_with: 503, fail_next: 2, retry_after_s: null });
    assert.equal(await t.value(), "s3cret");
  },

  async "one challenge and one token for many reads"(t) {
    await t.set();
    const before = (await t.seen()).length;
    const client = connect(t.url);
    for (let read = 0; read < 5; read += 1) {
      await client.getSecret(t.name);
    }
    const calls = (await t.seen()).slice(before);
    assert.deepEqual(calls.map((call) => call.status), [401, 200, 200, 200, 200, 200]);
    assert.equal(new Set(calls.slice(1).map((call) => call.token)).size, 1);
    assert.ok(calls.slice(1).every((call) => call.read));
  },

  async "a client that checks the challenge refuses"(t) {
    await t.set();
    const before = (await t.seen()).length;
    const client = connect(t.url, { disableChallengeResourceVerification: false });
    await assert.rejects(client.getSecret(t.name), /does not match the requested domain/);
    assert.deepEqual((await t.seen()).slice(before).map((call) => call.status), [401]);
  },
};

async function main() {
  const [url, plan] = process.argv.slice(2);
  const client = connect(url);
  for (const { name, mark } of JSON.parse(plan)) {
    const started = Date.now();
    let error = null;
    try {
      await scenarios[name](new Scenario(url, client, mark));
    } catch (reason) {
      error = reason?.stack ?? JSON.stringify(reason);
    }
    const seconds = (Date.now() - started) / 1000;
    console.log(JSON.stringify({ name, error, seconds }));
  }
}

main();
