"""Scenarios for the official Python client. `tests/conformance/dataverse/run` explains how they are run."""

import json
import sys
import time
import traceback
from contextlib import contextmanager
from uuid import uuid4

import requests
from azure.core.credentials import AccessToken
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError, MetadataError
from PowerPlatform.Dataverse.models.upsert import UpsertItem

FORMATTED = "@OData.Community.Display.V1.FormattedValue"


class Credential:
    """The environment lets everybody in; the scope is what a real one would be asked for."""

    def __init__(self, url):
        self.scope = f"{url}/.default"

    def get_token(self, *scopes, **_):
        assert scopes == (self.scope,), scopes
        return AccessToken("local", int(time.time()) + 3600)


class Scenario:
    """One scenario's mark, by which its rows are known, and shorthands."""

    def __init__(self, url, client, mark):
        self.url = url
        self.client = client
        self.records = client.records
        self.mark = mark

    def create(self, **columns):
        return self.records.create("account", {"name": self.mark, **columns})

    def read(self, row, *columns, **options):
        return self.records.retrieve("account", row, select=list(columns), **options)

    def mine(self, **options):
        return self.records.list("account", filter=f"startswith(name,'{self.mark}')", **options)

    def script(self, known, url):
        """The next request whose URL contains `url` is answered so."""
        body = {"url": url, "fault": {"known": known}}
        requests.post(f"{self.url}/_admin/script", json=body).raise_for_status()


@contextmanager
def expect(status, code):
    """What is done inside must fail with this answer."""
    try:
        yield
    except HttpError as error:
        found = (error.status_code, error.details.get("service_error_code"))
        assert found == (status, code), f"{found} {error.message}"
        assert error.details.get("service_request_id"), error.details
        return
    raise AssertionError(f"no {status}")


def create(t):
    row = t.create(accountnumber=t.mark, revenue=12.5, numberofemployees=3, creditonhold=True)
    read = t.read(row, "name", "revenue", "numberofemployees", "creditonhold", "description")
    assert read["name"] == t.mark
    assert read["revenue"] == 12.5
    assert read["numberofemployees"] == 3
    assert read["creditonhold"] is True
    assert read["description"] is None


def create_with_lookup(t):
    contact = t.records.create("contact", {"firstname": "Jo", "lastname": t.mark})
    row = t.create(**{"primarycontactid@odata.bind": f"/contacts({contact})"})
    assert t.read(row, "_primarycontactid_value")["_primarycontactid_value"] == contact


def read_by_id(t):
    row = t.create()
    read = t.read(row, "name")
    assert read["accountid"] == row
    assert read.etag.startswith('W/"'), read.etag


def read_by_key(t):
    row = t.create(accountnumber=f"{t.mark}'s")
    read = t.records.retrieve("account", f"(accountnumber='{t.mark}''s')", select=["name"])
    assert read["accountid"] == row


def select_and_expand(t):
    contact = t.records.create("contact", {"firstname": "Jo", "lastname": t.mark})
    row = t.create(**{"primarycontactid@odata.bind": f"/contacts({contact})"})
    read = t.read(row, "name", expand=["primarycontactid"])
    assert read["primarycontactid"]["fullname"] == f"Jo {t.mark}"
    assert "telephone1" not in read


def annotations(t):
    contact = t.records.create("contact", {"firstname": "Jo", "lastname": t.mark})
    row = t.create(revenue=10000, industrycode=1, **{"primarycontactid@odata.bind": f"/contacts({contact})"})
    read = t.read(row, "revenue", "industrycode", "statecode", "_primarycontactid_value", include_annotations="*")
    assert read[f"revenue{FORMATTED}"] == "$10,000.00"
    assert read[f"industrycode{FORMATTED}"] == "Accounting"
    assert read[f"statecode{FORMATTED}"] == "Active"
    assert read[f"_primarycontactid_value{FORMATTED}"] == f"Jo {t.mark}"
    assert read["_primarycontactid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "contact"
    only = t.read(row, "revenue", "_primarycontactid_value", include_annotations=FORMATTED[1:])
    assert f"revenue{FORMATTED}" in only
    assert "_primarycontactid_value@Microsoft.Dynamics.CRM.lookuplogicalname" not in only
    assert f"revenue{FORMATTED}" not in t.read(row, "revenue")


def read_missing(t):
    assert t.read(str(uuid4()), "name") is None


def update(t):
    row = t.create()
    t.records.update("account", row, {"telephone1": "555", "description": None})
    assert t.read(row, "telephone1")["telephone1"] == "555"


def update_missing(t):
    row = str(uuid4())
    with expect(404, "0x80040217"):
        t.records.update("account", row, {"telephone1": "555"})
    assert t.read(row, "name") is None


def lookup(t):
    contact = t.records.create("contact", {"firstname": "Jo", "lastname": t.mark})
    row = t.create()
    t.records.update("account", row, {"primarycontactid@odata.bind": f"/contacts({contact})"})
    assert t.read(row, "_primarycontactid_value")["_primarycontactid_value"] == contact
    t.records.update("account", row, {"primarycontactid@odata.bind": None})
    assert t.read(row, "_primarycontactid_value")["_primarycontactid_value"] is None


def choice_by_label(t):
    row = t.create(industrycode="Consulting")
    assert t.read(row, "industrycode")["industrycode"] == 7


def upsert(t):
    for phone in ["1", "2"]:
        item = UpsertItem({"accountnumber": t.mark}, {"name": t.mark, "telephone1": phone})
        t.records.upsert("account", [item])
        assert [row["telephone1"] for row in t.mine(select=["telephone1"])] == [phone]


def delete(t):
    row = t.create()
    t.records.delete("account", row)
    assert t.read(row, "name") is None
    with expect(404, "0x80040217"):
        t.records.delete("account", row)


def filter_and_order(t):
    for number, employees in enumerate([5, 1, 3]):
        t.create(numberofemployees=employees, accountnumber=f"{t.mark}-{number}")
    found = t.mine(select=["numberofemployees"], orderby=["numberofemployees desc"], top=2)
    assert [row["numberofemployees"] for row in found] == [5, 3]
    filter = f"name eq '{t.mark}' and (numberofemployees gt 2 and numberofemployees lt 4)"
    found = t.records.list("account", filter=filter, select=["accountnumber"])
    assert [row["accountnumber"] for row in found] == [f"{t.mark}-2"]


def pages(t):
    t.records.create("account", [{"name": f"{t.mark} {number}"} for number in range(7)])
    filter = f"startswith(name,'{t.mark}')"
    pages = list(t.records.list_pages("account", filter=filter, select=["name"], orderby=["name"], page_size=3))
    assert [len(page) for page in pages] == [3, 3, 1]
    names = [row["name"] for page in pages for row in page]
    assert names == [f"{t.mark} {number}" for number in range(7)]


def count(t):
    t.records.create("account", [{"name": f"{t.mark} {number}"} for number in range(3)])
    assert len(t.mine(select=["name"], count=True, page_size=2)) == 3


def create_many(t):
    ids = t.records.create("account", [{"name": f"{t.mark} {number}"} for number in range(5)])
    assert sorted(row["accountid"] for row in t.mine(select=["name"])) == sorted(ids)


def update_many(t):
    ids = t.records.create("account", [{"name": f"{t.mark} {number}"} for number in range(3)])
    t.records.update("account", ids, {"telephone1": "all"})
    assert {row["telephone1"] for row in t.mine(select=["telephone1"])} == {"all"}
    t.records.update("account", ids, [{"telephone1": str(number)} for number in range(3)])
    assert t.read(ids[2], "telephone1")["telephone1"] == "2"


def upsert_many(t):
    t.create(accountnumber=f"{t.mark}-0")
    items = [UpsertItem({"accountnumber": f"{t.mark}-{n}"}, {"name": f"{t.mark} {n}"}) for n in range(3)]
    t.records.upsert("account", items)
    names = [row["name"] for row in t.mine(select=["name"], orderby=["name"])]
    assert names == [f"{t.mark} {n}" for n in range(3)]


def all_or_nothing(t):
    rows = [{"name": t.mark}, {"name": t.mark, "accountnumber": "x" * 21}]
    with expect(400, "0x80044331"):
        t.records.create("account", rows)
    assert len(t.mine(select=["name"])) == 0


def delete_many(t):
    ids = t.records.create("account", [{"name": f"{t.mark} {number}"} for number in range(4)])
    assert t.records.delete("account", ids[:3])
    until = time.monotonic() + 5
    while len(t.mine(select=["name"])) > 1:
        assert time.monotonic() < until, "the job did not delete them"
    assert t.read(ids[3], "name") is not None


def batch(t):
    row = t.create()
    batch = t.client.batch.new()
    batch.records.create("account", {"name": f"{t.mark} 2"})
    batch.records.update("account", row, {"telephone1": "555"})
    batch.records.retrieve("account", row, select=["telephone1"])
    batch.records.list("account", filter=f"startswith(name,'{t.mark}')", select=["name"])
    result = batch.execute()
    assert [one.status_code for one in result.responses] == [204, 204, 200, 200], result
    assert result.responses[0].entity_id
    assert result.responses[2].data["telephone1"] == "555"
    assert len(result.responses[3].data["value"]) == 2


def change_set(t):
    batch = t.client.batch.new()
    with batch.changeset() as changes:
        contact = changes.records.create("contact", {"firstname": "Jo", "lastname": t.mark})
        changes.records.create("account", {"name": t.mark, "primarycontactid@odata.bind": contact})
    result = batch.execute()
    assert not result.has_errors, result
    ids = result.entity_ids
    assert t.read(ids[1], "_primarycontactid_value")["_primarycontactid_value"] == ids[0]


def change_set_undone(t):
    row = t.create()
    batch = t.client.batch.new()
    with batch.changeset() as changes:
        changes.records.update("account", row, {"telephone1": "undone"})
        changes.records.create("account", {"name": t.mark, "accountnumber": "x" * 21})
    result = batch.execute(continue_on_error=True)
    assert [one.status_code for one in result.responses] == [400], result
    assert result.responses[0].error_code == "0x80044331"
    assert t.read(row, "telephone1")["telephone1"] is None


def continue_on_error(t):
    batch = t.client.batch.new()
    batch.records.create("account", {"name": t.mark})
    batch.records.delete("account", str(uuid4()))
    batch.records.create("account", {"name": t.mark})
    result = batch.execute(continue_on_error=True)
    assert [one.status_code for one in result.responses] == [204, 404, 204], result
    assert result.failed[0].error_code == "0x80040217"


def stop_at_first_error(t):
    batch = t.client.batch.new()
    batch.records.create("account", {"name": t.mark})
    batch.records.create("account", {"name": t.mark, "accountnumber": "x" * 21})
    batch.records.create("account", {"name": t.mark})
    result = batch.execute()
    assert [one.status_code for one in result.responses] == [204, 400], result
    assert len(t.mine(select=["name"])) == 1


def table(t):
    info = t.client.tables.get("Account")
    assert (info.logical_name, info.entity_set_name) == ("account", "accounts")
    assert (info.primary_id_attribute, info.primary_name_attribute) == ("accountid", "name")
    assert t.client.tables.get("nothing") is None
    names = [one["LogicalName"] for one in t.client.tables.list(select=["LogicalName"])]
    assert {"account", "contact", "dvs_outbox"} <= set(names)
    own = t.client.tables.list(filter="startswith(SchemaName,'dvs_')")
    assert [one["LogicalName"] for one in own] == ["dvs_outbox"]


def columns(t):
    columns = t.client.tables.list_columns("account", select=["LogicalName", "AttributeType"])
    kinds = {one["LogicalName"]: one["AttributeType"] for one in columns}
    assert kinds["name"] == "String"
    assert kinds["industrycode"] == "Picklist"
    assert kinds["primarycontactid"] == "Lookup"
    assert kinds["versionnumber"] == "BigInt"
    assert t.client.tables.get_column("account", "name")["SchemaName"].lower() == "name"


def keys(t):
    (key,) = t.client.tables.get_alternate_keys("account")
    assert key.key_attributes == ["accountnumber"]
    assert key.status == "Active"


def relationships(t):
    found = t.client.tables.list_table_relationships("contact")
    ends = {(one["ReferencingEntity"], one["ReferencingAttribute"], one["ReferencedEntity"]) for one in found}
    assert ("contact", "parentcustomerid", "account") in ends
    assert ("account", "primarycontactid", "contact") in ends


def unknown_column(t):
    with expect(400, "0x80060888"):
        t.records.list("account", select=["nam"], top=1)


def unknown_table(t):
    try:
        t.records.list("nothing", select=["name"])
    except MetadataError as error:
        assert error.subcode == "metadata_entityset_not_found", error.subcode
    else:
        raise AssertionError("no error")


def too_long(t):
    with expect(400, "0x80044331"):
        t.create(accountnumber="x" * 21)


def bad_choice(t):
    with expect(400, "0x8004431A"):
        t.create(industrycode=99)


def duplicate_key(t):
    t.create(accountnumber=t.mark)
    with expect(412, "0x80060892"):
        t.create(accountnumber=t.mark)


def no_token(t):
    row = t.create()
    t.script("unauthorized", row)
    try:
        t.read(row, "name")
    except HttpError as error:
        assert error.status_code == 401
    else:
        raise AssertionError("no 401")


def privilege(t):
    row = t.create()
    t.script("privilege_missing", row)
    with expect(403, "0x80040220"):
        t.read(row, "name")


def throttled(t):
    row = t.create()
    t.script("throttled_requests", row)
    try:
        t.records.update("account", row, {"telephone1": "1"})
    except HttpError as error:
        assert (error.status_code, error.details["retry_after"]) == (429, 37)
        assert error.details["service_error_code"] == "0x80072322"
        assert error.is_transient
    else:
        raise AssertionError("no 429")
    assert t.read(row, "telephone1")["telephone1"] is None


def gateway(t):
    row = t.create()
    t.script("bad_gateway", row)
    try:
        t.read(row, "name")
    except HttpError as error:
        assert (error.status_code, error.is_transient) == (502, True)
    else:
        raise AssertionError("no 502")


def deadlock(t):
    row = t.create()
    t.script("sql_deadlock", row)
    with expect(500, "0x80044150"):
        t.read(row, "name")


SCENARIOS = {
    "create": create,
    "create with a lookup": create_with_lookup,
    "read by id": read_by_id,
    "read by alternate key": read_by_key,
    "select and expand": select_and_expand,
    "formatted values and lookup annotations": annotations,
    "read a row that is gone": read_missing,
    "update": update,
    "update a row that is gone": update_missing,
    "lookup: set and clear": lookup,
    "choice by its label": choice_by_label,
    "upsert": upsert,
    "delete": delete,
    "list with filter and order": filter_and_order,
    "list in pages": pages,
    "count": count,
    "create many": create_many,
    "update many": update_many,
    "upsert many": upsert_many,
    "many are all or nothing": all_or_nothing,
    "delete many": delete_many,
    "batch": batch,
    "batch: change set with a reference": change_set,
    "batch: change set undone": change_set_undone,
    "batch: continue on error": continue_on_error,
    "batch: stop at the first error": stop_at_first_error,
    "metadata: table": table,
    "metadata: columns and choices": columns,
    "metadata: keys": keys,
    "metadata: relationships": relationships,
    "error: unknown column": unknown_column,
    "error: unknown table": unknown_table,
    "error: text too long": too_long,
    "error: bad choice": bad_choice,
    "error: duplicate key": duplicate_key,
    "error: no valid token": no_token,
    "error: privilege missing": privilege,
    "error: throttled": throttled,
    "error: gateway page": gateway,
    "error: SQL deadlock": deadlock,
}


def main():
    url, plan = sys.argv[1], json.loads(sys.argv[2])
    with DataverseClient(url, Credential(url)) as client:
        for scenario in plan:
            started, error = time.monotonic(), None
            try:
                SCENARIOS[scenario["name"]](Scenario(url, client, scenario["mark"]))
            except Exception:
                error = traceback.format_exc()
            report = {"name": scenario["name"], "error": error, "seconds": time.monotonic() - started}
            print(json.dumps(report), flush=True)


main()
