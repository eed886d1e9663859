// Scenarios for dynamics-web-api. `tests/conformance/dataverse/run` explains how they are run.
"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { DynamicsWebApi } = require("dynamics-web-api");

const FORMATTED = "@OData.Community.Display.V1.FormattedValue";
const accounts = "accounts";
const contacts = "contacts";

function connect(url, options) {
  return new DynamicsWebApi({
    serverUrl: url,
    dataApi: { version: "9.2" },
    // The environment lets everybody in.
    onTokenRefresh: async () => "local",
    ...options,
  });
}

// One scenario's mark, by which its rows are known, and shorthands.
class Scenario {
  constructor(url, api, mark) {
    this.url = url;
    this.api = api;
    this.mark = mark;
  }

  // Creates an account and returns its id.
  async create(columns) {
    return await this.api.create({ collection: accounts, data: { name: this.mark, ...columns } });
  }

  async contact() {
    return await this.api.create({ collection: contacts, data: { firstname: "Jo", lastname: this.mark } });
  }

  async read(key, select, options) {
    return await this.api.retrieve({ collection: accounts, key, select, ...options });
  }

  async update(key, data, options) {
    return await this.api.update({ collection: accounts, key, data, ...options });
  }

  async mine(options) {
    const filter = `startswith(name,'${this.mark}')`;
    return await this.api.retrieveMultiple({ collection: accounts, filter, ...options });
  }

  // Creates accounts named "mark 0", "mark 1" and so on.
  async several(count) {
    const ids = [];
    for (let number = 0; number < count; number += 1) {
      ids.push(await this.create({ name: `${this.mark} ${number}` }));
    }
    return ids;
  }

  async many(action, targets) {
    return await this.api.callAction({
      collection: accounts,
      actionName: `Microsoft.Dynamics.CRM.${action}`,
      action: { Targets: targets.map((one) => ({ "@odata.type": "Microsoft.Dynamics.CRM.account", ...one })) },
    });
  }

  // The next request whose URL contains `url` is answered so.
  async script(known, url) {
    const body = JSON.stringify({ url, fault: { known } });
    const answer = await fetch(`${this.url}/_admin/script`, { method: "POST", body });
    assert.equal(answer.status, 200);
  }
}

// What a call must fail with.
const failure = (status, code) => (error) => {
  assert.equal(error.status, status, error.message);
  assert.equal(error.code, code, error.message);
  return true;
};
// The same for a part of a batch, where the client keeps the body as it is.
const partFailure = (part, status, code) => {
  assert.deepEqual([part.status, part.error?.code], [status, code]);
  return true;
};
const names = (list) => list.value.map((row) => row.name);
const tooLong = "x".repeat(21);

const scenarios = {
  async "who am I, and which version"(t) {
    const who = await t.api.callFunction("WhoAmI");
    assert.match(who.UserId, /^[0-9a-f-]{36}$/);
    assert.match((await t.api.callFunction("RetrieveVersion")).Version, /^9\./);
  },

  async "create"(t) {
    const id = await t.create({ accountnumber: t.mark, revenue: 12.5, numberofemployees: 3, creditonhold: true });
    const row = await t.read(id, ["name", "revenue", "numberofemployees", "creditonhold", "description"]);
    assert.equal(row.name, t.mark);
    assert.equal(row.revenue, 12.5);
    assert.equal(row.numberofemployees, 3);
    assert.equal(row.creditonhold, true);
    assert.equal(row.description, null);
  },

  async "create with a lookup"(t) {
    const contact = await t.contact();
    const id = await t.create({ "primarycontactid@odata.bind": `contacts(${contact})` });
    assert.equal((await t.read(id, ["_primarycontactid_value"]))._primarycontactid_value, contact);
  },

  async "create and return the row"(t) {
    const row = await t.api.create({
      collection: accounts,
      data: { name: t.mark },
      select: ["name", "statecode"],
      returnRepresentation: true,
    });
    assert.deepEqual([row.name, row.statecode], [t.mark, 0]);
    const updated = await t.update(row.accountid, { telephone1: "1" }, { select: ["telephone1"], returnRepresentation: true });
    assert.equal(updated.telephone1, "1");
  },

  async "read by id"(t) {
    const id = await t.create();
    const row = await t.read(id, ["name"]);
    assert.equal(row.accountid, id);
    assert.match(row["@odata.etag"], /^W\/"\d+"$/);
  },

  async "read by alternate key"(t) {
    const id = await t.create({ accountnumber: `${t.mark}'s` });
    assert.equal((await t.read(`accountnumber='${t.mark}''s'`, ["name"])).accountid, id);
  },

  async "select and expand"(t) {
    const contact = await t.contact();
    const id = await t.create({ "primarycontactid@odata.bind": `contacts(${contact})` });
    const row = await t.read(id, ["name"], { expand: [{ property: "primarycontactid", select: ["fullname"] }] });
    assert.equal(row.primarycontactid.fullname, `Jo ${t.mark}`);
    assert.equal("telephone1" in row, false);
  },

  async "formatted values and lookup annotations"(t) {
    const contact = await t.contact();
    const data = { revenue: 10000, industrycode: 1, "primarycontactid@odata.bind": `contacts(${contact})` };
    const id = await t.create(data);
    const select = ["revenue", "industrycode", "statecode", "_primarycontactid_value"];
    const row = await t.read(id, select, { includeAnnotations: "*" });
    assert.equal(row[`revenue${FORMATTED}`], "$10,000.00");
    assert.equal(row[`industrycode${FORMATTED}`], "Accounting");
    assert.equal(row[`statecode${FORMATTED}`], "Active");
    assert.equal(row[`_primarycontactid_value${FORMATTED}`], `Jo ${t.mark}`);
    assert.equal(row["_primarycontactid_value@Microsoft.Dynamics.CRM.lookuplogicalname"], "contact");
    const only = await t.read(id, select, { includeAnnotations: FORMATTED.slice(1) });
    assert.ok(`revenue${FORMATTED}` in only);
    assert.equal("_primarycontactid_value@Microsoft.Dynamics.CRM.lookuplogicalname" in only, false);
    assert.equal(`revenue${FORMATTED}` in (await t.read(id, select)), false);
  },

  async "read a row that is gone"(t) {
    await assert.rejects(t.read(randomUUID(), ["name"]), failure(404, "0x80040217"));
    await assert.rejects(t.read(`accountnumber='${t.mark}'`, ["name"]), failure(404, "0x80060891"));
  },

  async "read only if changed"(t) {
    const id = await t.create();
    const row = await t.read(id, ["name"]);
    assert.ok(!(await t.read(id, ["name"], { ifnonematch: row["@odata.etag"] })));
    await t.update(id, { telephone1: "1" });
    assert.equal((await t.read(id, ["name"], { ifnonematch: row["@odata.etag"] })).name, t.mark);
  },

  async "update"(t) {
    const id = await t.create();
    assert.equal(await t.update(id, { telephone1: "555", description: null }), true);
    assert.equal((await t.read(id, ["telephone1"])).telephone1, "555");
  },

  async "update a row that is gone"(t) {
    const id = randomUUID();
    await assert.rejects(t.update(id, { telephone1: "555" }), failure(404, "0x80040217"));
    await assert.rejects(t.read(id, ["name"]), failure(404, "0x80040217"));
  },

  async "update with an etag"(t) {
    const id = await t.create();
    const etag = (await t.read(id, ["name"]))["@odata.etag"];
    assert.equal(await t.update(id, { telephone1: "1" }, { ifmatch: etag }), true);
    // The client tells a lost race by `false`.
    assert.equal(await t.update(id, { telephone1: "2" }, { ifmatch: etag }), false);
    assert.equal((await t.read(id, ["telephone1"])).telephone1, "1");
    const strict = connect(t.url, { propagateErrors: true });
    const lost = strict.update({ collection: accounts, key: id, data: { telephone1: "3" }, ifmatch: etag });
    await assert.rejects(lost, failure(412, "0x80060882"));
  },

  async "one value: set and clear"(t) {
    const key = await t.create();
    await t.api.updateSingleProperty({ collection: accounts, key, fieldValuePair: { telephone1: "777" } });
    assert.equal((await t.read(key, ["telephone1"])).telephone1, "777");
    assert.equal(await t.api.deleteRecord({ collection: accounts, key, property: "telephone1" }), true);
    assert.equal((await t.read(key, ["telephone1"])).telephone1, null);
  },

  async "lookup: set and clear"(t) {
    const [contact, id] = [await t.contact(), await t.create()];
    const ends = { collection: accounts, primaryKey: id, navigationProperty: "primarycontactid" };
    await t.api.associateSingleValued({ ...ends, relatedCollection: contacts, relatedKey: contact });
    assert.equal((await t.read(id, ["_primarycontactid_value"]))._primarycontactid_value, contact);
    await t.api.disassociateSingleValued(ends);
    assert.equal((await t.read(id, ["_primarycontactid_value"]))._primarycontactid_value, null);
    await t.update(id, { "primarycontactid@odata.bind": `/contacts(${contact})` });
    assert.equal((await t.read(id, ["_primarycontactid_value"]))._primarycontactid_value, contact);
  },

  async "upsert"(t) {
    for (const telephone1 of ["1", "2"]) {
      const key = `accountnumber='${t.mark}'`;
      await t.api.upsert({ collection: accounts, key, data: { name: t.mark, telephone1 } });
      const found = await t.mine({ select: ["telephone1"] });
      assert.deepEqual(found.value.map((row) => row.telephone1), [telephone1]);
    }
    // The client tells "there already" by `null`.
    const again = { collection: accounts, key: `accountnumber='${t.mark}'`, data: {}, ifnonematch: "*" };
    assert.equal(await t.api.upsert(again), null);
  },

  async "delete"(t) {
    const key = await t.create();
    assert.equal(await t.api.deleteRecord({ collection: accounts, key }), true);
    await assert.rejects(t.read(key, ["name"]), failure(404, "0x80040217"));
    await assert.rejects(t.api.deleteRecord({ collection: accounts, key }), failure(404, "0x80040217"));
  },

  async "delete with an etag"(t) {
    const key = await t.create();
    const old = (await t.read(key, ["name"]))["@odata.etag"];
    await t.update(key, { telephone1: "1" });
    assert.equal(await t.api.deleteRecord({ collection: accounts, key, ifmatch: old }), false);
    const ifmatch = (await t.read(key, ["name"]))["@odata.etag"];
    assert.equal(await t.api.deleteRecord({ collection: accounts, key, ifmatch }), true);
  },

  async "list with filter and order"(t) {
    for (const [number, numberofemployees] of [5, 1, 3].entries()) {
      await t.create({ numberofemployees, accountnumber: `${t.mark}-${number}` });
    }
    const sorted = await t.mine({ select: ["numberofemployees"], orderBy: ["numberofemployees desc"], top: 2 });
    assert.deepEqual(sorted.value.map((row) => row.numberofemployees), [5, 3]);
    const filter = `name eq '${t.mark}' and (numberofemployees gt 2 and numberofemployees lt 4)`;
    const found = await t.mine({ select: ["accountnumber"], filter });
    assert.deepEqual(found.value.map((row) => row.accountnumber), [`${t.mark}-2`]);
  },

  async "list in pages"(t) {
    await t.several(7);
    const request = {
      collection: accounts,
      filter: `startswith(name,'${t.mark}')`,
      select: ["name"],
      orderBy: ["name"],
      maxPageSize: 3,
    };
    const pages = [];
    for (let link; link !== undefined || pages.length === 0; ) {
      const page = await t.api.retrieveMultiple(request, link);
      pages.push(names(page));
      link = page.oDataNextLink;
      if (link === undefined) {
        break;
      }
    }
    assert.deepEqual(pages.map((page) => page.length), [3, 3, 1]);
    const all = await t.api.retrieveAll(request);
    assert.deepEqual(names(all), pages.flat());
  },

  async "count"(t) {
    await t.several(3);
    const filter = `startswith(name,'${t.mark}')`;
    assert.equal(await t.api.count({ collection: accounts, filter }), 3);
    assert.ok((await t.api.count({ collection: accounts })) > 3);
    const list = await t.mine({ select: ["name"], count: true, top: 1 });
    assert.deepEqual([list.oDataCount, list.value.length], [3, 1]);
  },

  async "create many"(t) {
    const targets = [0, 1, 2].map((number) => ({ name: `${t.mark} ${number}` }));
    const { Ids } = await t.many("CreateMultiple", targets);
    const found = await t.mine({ select: ["name"] });
    assert.deepEqual(found.value.map((row) => row.accountid).sort(), Ids.sort());
  },

  async "update many"(t) {
    const ids = await t.several(3);
    await t.many("UpdateMultiple", ids.map((accountid, number) => ({ accountid, telephone1: `${number}` })));
    const found = await t.mine({ select: ["telephone1"], orderBy: ["telephone1"] });
    assert.deepEqual(found.value.map((row) => row.telephone1), ["0", "1", "2"]);
  },

  async "upsert many"(t) {
    await t.create({ accountnumber: `${t.mark}-0` });
    const targets = [0, 1, 2].map((number) => ({
      "@odata.id": `accounts(accountnumber='${t.mark}-${number}')`,
      name: `${t.mark} ${number}`,
    }));
    await t.many("UpsertMultiple", targets);
    const found = await t.mine({ select: ["name"], orderBy: ["name"] });
    assert.deepEqual(names(found), [0, 1, 2].map((number) => `${t.mark} ${number}`));
  },

  async "many are all or nothing"(t) {
    const targets = [{ name: t.mark }, { name: t.mark, accountnumber: tooLong }];
    await assert.rejects(t.many("CreateMultiple", targets), failure(400, "0x80044331"));
    assert.deepEqual(names(await t.mine({ select: ["name"] })), []);
  },

  async "batch"(t) {
    const id = await t.create();
    t.api.startBatch();
    t.api.create({ collection: accounts, data: { name: `${t.mark} 2` }, inChangeSet: false });
    t.api.update({ collection: accounts, key: id, data: { telephone1: "555" }, inChangeSet: false });
    t.api.retrieve({ collection: accounts, key: id, select: ["telephone1"] });
    t.api.retrieveMultiple({ collection: accounts, filter: `startswith(name,'${t.mark}')`, select: ["name"] });
    const [created, updated, read, list] = await t.api.executeBatch();
    assert.match(created, /^[0-9a-f-]{36}$/);
    assert.equal(updated, true);
    assert.equal(read.telephone1, "555");
    assert.equal(list.value.length, 2);
  },

  async "batch: change set with a reference"(t) {
    t.api.startBatch();
    t.api.create({ collection: contacts, data: { firstname: "Jo", lastname: t.mark }, contentId: "1" });
    t.api.create({ collection: accounts, data: { name: t.mark, "primarycontactid@odata.bind": "$1" } });
    const [contact, account] = await t.api.executeBatch();
    assert.equal((await t.read(account, ["_primarycontactid_value"]))._primarycontactid_value, contact);
  },

  async "batch: change set undone"(t) {
    const id = await t.create();
    t.api.startBatch();
    t.api.update({ collection: accounts, key: id, data: { telephone1: "undone" } });
    t.api.create({ collection: accounts, data: { name: t.mark, accountnumber: tooLong } });
    // The client throws what it got, part by part.
    await assert.rejects(t.api.executeBatch(), (parts) => partFailure(parts[0], 400, "0x80044331"));
    assert.equal((await t.read(id, ["telephone1"])).telephone1, null);
  },

  async "batch: continue on error"(t) {
    t.api.startBatch();
    t.api.create({ collection: accounts, data: { name: t.mark }, inChangeSet: false });
    t.api.deleteRecord({ collection: accounts, key: randomUUID(), inChangeSet: false });
    t.api.create({ collection: accounts, data: { name: t.mark }, inChangeSet: false });
    const [first, second, third] = await t.api.executeBatch({ continueOnError: true });
    assert.match(first, /^[0-9a-f-]{36}$/);
    partFailure(second, 404, "0x80040217");
    assert.match(third, /^[0-9a-f-]{36}$/);
  },

  async "batch: stop at the first error"(t) {
    t.api.startBatch();
    t.api.create({ collection: accounts, data: { name: t.mark }, inChangeSet: false });
    t.api.create({ collection: accounts, data: { name: t.mark, accountnumber: tooLong }, inChangeSet: false });
    t.api.create({ collection: accounts, data: { name: t.mark }, inChangeSet: false });
    await assert.rejects(t.api.executeBatch(), (parts) => {
      assert.equal(parts.length, 2);
      return partFailure(parts[1], 400, "0x80044331");
    });
    assert.deepEqual(names(await t.mine({ select: ["name"] })), [t.mark]);
  },

  async "change tracking"(t) {
    const ids = await t.several(3);
    const first = await t.api.retrieveMultiple({ collection: accounts, select: ["name"], trackChanges: true });
    assert.ok(ids.every((id) => first.value.some((row) => row.accountid === id)));
    assert.ok(first.oDataDeltaLink);
    await t.update(ids[0], { telephone1: "1" });
    await t.api.deleteRecord({ collection: accounts, key: ids[1] });
    const delta = await t.api.retrieveMultiple({ collection: accounts }, first.oDataDeltaLink);
    // Other scenarios' rows change meanwhile.
    const changed = delta.value.filter((row) => ids.includes(row.accountid));
    assert.deepEqual(names({ value: changed }), [`${t.mark} 0`]);
    assert.deepEqual(delta.value.filter((row) => ids.includes(row.id)).map((row) => [row.id, row.reason]), [
      [ids[1], "deleted"],
    ]);
    const next = await t.api.retrieveMultiple({ collection: accounts }, delta.oDataDeltaLink);
    assert.equal(next.value.some((row) => ids.includes(row.accountid ?? row.id)), false);
  },

  async "impersonation"(t) {
    for (const who of ["impersonate", "impersonateAAD"]) {
      const key = await t.api.create({ collection: accounts, data: { name: t.mark }, [who]: randomUUID() });
      assert.equal((await t.read(key, ["name"], { [who]: randomUUID() })).name, t.mark);
    }
  },

  async "metadata: table"(t) {
    const key = "LogicalName='account'";
    const table = await t.api.retrieveEntity({ key, select: ["EntitySetName", "PrimaryIdAttribute"] });
    assert.deepEqual([table.EntitySetName, table.PrimaryIdAttribute], ["accounts", "accountid"]);
    const all = await t.api.retrieveEntities({ select: ["LogicalName", "EntitySetName"] });
    assert.ok(all.value.some((one) => one.LogicalName === "dvs_outbox" && one.EntitySetName === "dvs_outboxes"));
    const byName = connect(t.url, { useEntityNames: true });
    const id = await byName.create({ collection: "account", data: { name: t.mark } });
    assert.equal((await t.read(id, ["name"])).name, t.mark);
  },

  async "metadata: columns and choices"(t) {
    const entityKey = "LogicalName='account'";
    const columns = await t.api.retrieveAttributes({ entityKey, select: ["LogicalName", "AttributeType"] });
    const kinds = Object.fromEntries(columns.value.map((one) => [one.LogicalName, one.AttributeType]));
    assert.equal(kinds.industrycode, "Picklist");
    const choices = await t.api.retrieveAttributes({
      entityKey,
      castType: "Microsoft.Dynamics.CRM.PicklistAttributeMetadata",
      select: ["LogicalName"],
      expand: [{ property: "OptionSet", select: ["Options"] }],
    });
    const [industry] = choices.value.filter((one) => one.LogicalName === "industrycode");
    const consulting = industry.OptionSet.Options.find((option) => option.Value === 7);
    assert.equal(consulting.Label.UserLocalizedLabel.Label, "Consulting");
    const one = await t.api.retrieveAttribute({
      entityKey,
      attributeKey: "LogicalName='name'",
      castType: "Microsoft.Dynamics.CRM.StringAttributeMetadata",
    });
    assert.equal(one.MaxLength, 160);
  },

  async "metadata: keys"(t) {
    const keys = await t.api.retrieve({ collection: "EntityDefinitions", key: "LogicalName='account'", navigationProperty: "Keys" });
    assert.deepEqual(keys.value.map((key) => [key.KeyAttributes, key.EntityKeyIndexStatus]), [[["accountnumber"], "Active"]]);
  },

  async "metadata: relationships"(t) {
    const all = await t.api.retrieveRelationships({ castType: "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata" });
    const ends = all.value.map((one) => `${one.ReferencingEntity}.${one.ReferencingAttribute} ${one.ReferencedEntity}`);
    assert.ok(ends.includes("contact.parentcustomerid account"), ends.join("\n"));
    assert.ok(ends.includes("account.primarycontactid contact"), ends.join("\n"));
  },

  async "error: unknown column"(t) {
    await assert.rejects(t.mine({ select: ["nam"] }), failure(400, "0x80060888"));
  },

  async "error: unknown table"(t) {
    const list = t.api.retrieveMultiple({ collection: "nothings", select: ["name"] });
    await assert.rejects(list, failure(404, "0x80060888"));
  },

  async "error: text too long"(t) {
    await assert.rejects(t.create({ accountnumber: tooLong }), failure(400, "0x80044331"));
  },

  async "error: bad choice"(t) {
    await assert.rejects(t.create({ industrycode: 99 }), failure(400, "0x8004431A"));
  },

  async "error: duplicate key"(t) {
    await t.create({ accountnumber: t.mark });
    await assert.rejects(t.create({ accountnumber: t.mark }), failure(412, "0x80060892"));
  },

  async "error: no valid token"(t) {
    const id = await t.create();
    await t.script("unauthorized", id);
    await assert.rejects(t.read(id, ["name"]), (error) => error.status === 401);
  },

  async "error: privilege missing"(t) {
    const id = await t.create();
    await t.script("privilege_missing", id);
    await assert.rejects(t.read(id, ["name"]), failure(403, "0x80040220"));
  },

  async "error: throttled"(t) {
    const id = await t.create();
    await t.script("throttled_requests", id);
    await assert.rejects(t.update(id, { telephone1: "1" }), (error) => {
      assert.equal(error.headers["retry-after"], "37");
      return failure(429, "0x80072322")(error);
    });
    assert.equal((await t.read(id, ["telephone1"])).telephone1, null);
  },

  async "error: gateway page"(t) {
    const id = await t.create();
    await t.script("bad_gateway", id);
    await assert.rejects(t.read(id, ["name"]), (error) => error.status === 502);
  },

  async "error: SQL deadlock"(t) {
    const id = await t.create();
    await t.script("sql_deadlock", id);
    await assert.rejects(t.read(id, ["name"]), failure(500, "0x80044150"));
  },
};

async function main() {
  const [url, plan] = process.argv.slice(2);
  for (const { name, mark } of JSON.parse(plan)) {
    const started = Date.now();
    let error = null;
    try {
      // A client of its own: one that failed in the middle of a batch stays in it.
      await scenarios[name](new Scenario(url, connect(url), mark));
    } catch (reason) {
      error = reason?.stack ?? JSON.stringify(reason);
    }
    const seconds = (Date.now() - started) / 1000;
    console.log(JSON.stringify({ name, error, seconds }));
  }
}

main();
