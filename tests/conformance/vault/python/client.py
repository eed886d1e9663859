"""Scenarios for the official Python client. `tests/conformance/vault/run` explains how they are run."""

import json
import sys
import time
import traceback
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import requests
from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient


class Scenario:
    """One scenario's mark, which begins the names of its secrets, and shorthands."""

    def __init__(self, url, client, name):
        self.url = url
        self.client = client
        self.name = name

    def set(self, value="s3cret", **options):
        return self.client.set_secret(self.name, value, **options)

    def value(self, version=None):
        return self.client.get_secret(self.name, version).value

    def new_client(self, **options):
        options = {"verify_challenge_resource": False, **options}
        return SecretClient(self.url, ManagedIdentityCredential(), **options)

    def fail(self, **faults):
        """What the vault is to answer next."""
        requests.post(f"{self.url}/_admin/faults", json=faults).raise_for_status()

    def seen(self):
        """Statuses of all calls for the secret."""
        calls = requests.get(f"{self.url}/_admin/requests").json()
        return [call for call in calls if call["secret"] == self.name]

    def delete(self):
        return self.client.begin_delete_secret(self.name).result()


@contextmanager
def expect(status, code, inner=None):
    """What is done inside must fail with this answer."""
    try:
        yield
    except HttpResponseError as error:
        found = error.response.json()["error"]
        assert (error.status_code, found["code"]) == (status, code), found
        assert found.get("innererror", {}).get("code") == inner, found
        return
    raise AssertionError(f"no {status}")


def set_and_get(t):
    kept = t.set()
    assert kept.value == "s3cret" and len(kept.properties.version) == 32
    read = t.client.get_secret(t.name)
    assert read.value == "s3cret" and read.name == t.name and read.properties.enabled
    assert read.properties.version == kept.properties.version
    assert read.properties.recovery_level == "Recoverable+Purgeable"
    assert abs(read.properties.created_on.timestamp() - time.time()) < 600


def new_version(t):
    old, new = t.set("old"), t.set("new")
    assert old.properties.version != new.properties.version
    assert t.value() == "new"
    assert t.value(old.properties.version) == "old"


def versions(t):
    kept = {t.set(str(number)).properties.version for number in range(5)}
    pages = list(t.client.list_properties_of_secret_versions(t.name, max_page_size=2).by_page())
    pages = [[item.version for item in page] for page in pages]
    assert [len(page) for page in pages] == [2, 2, 1], pages
    assert set(sum(pages, [])) == kept


def listed(t):
    t.set()
    mine = [item for item in t.client.list_properties_of_secrets() if item.name == t.name]
    assert len(mine) == 1 and mine[0].version is None, mine
    raw = []
    t.client.list_properties_of_secrets(raw_response_hook=lambda r: raw.append(r.http_response.text())).next()
    assert raw and "s3cret" not in raw[0]


def content_type(t):
    t.set(content_type="text/plain", tags={"owner": "sync"})
    read = t.client.get_secret(t.name).properties
    assert read.content_type == "text/plain" and read.tags == {"owner": "sync"}
    changed = t.client.update_secret_properties(t.name, content_type="application/json", tags={"owner": "erp"})
    assert changed.content_type == "application/json" and changed.tags == {"owner": "erp"}
    assert t.value() == "s3cret"


def expiry(t):
    day, now = timedelta(days=1), datetime.now(timezone.utc).replace(microsecond=0)
    t.set(not_before=now + day, expires_on=now + 2 * day)
    read = t.client.get_secret(t.name)
    assert read.value == "s3cret"
    assert (read.properties.not_before, read.properties.expires_on) == (now + day, now + 2 * day)
    t.client.update_secret_properties(t.name, not_before=now - 2 * day, expires_on=now - day)
    read = t.client.get_secret(t.name)
    assert read.value == "s3cret" and read.properties.expires_on == now - day


def disabled(t):
    t.set()
    t.client.update_secret_properties(t.name, enabled=False)
    with expect(403, "Forbidden", "SecretDisabled"):
        t.value()
    assert t.client.update_secret_properties(t.name, enabled=True).enabled
    assert t.value() == "s3cret"


def old_disabled(t):
    old = t.set("old").properties.version
    t.set("new")
    t.client.update_secret_properties(t.name, old, enabled=False)
    with expect(403, "Forbidden", "SecretDisabled"):
        t.value(old)
    assert t.value() == "new"


def delete(t):
    t.set()
    deleted = t.delete()
    assert deleted.name == t.name and deleted.recovery_id.endswith(f"/deletedsecrets/{t.name}")
    assert deleted.scheduled_purge_date - deleted.deleted_date == timedelta(days=90)
    with expect(404, "SecretNotFound"):
        t.value()
    assert t.name in [item.name for item in t.client.list_deleted_secrets()]
    assert t.client.get_deleted_secret(t.name).name == t.name


def deleted_name(t):
    t.set()
    t.delete()
    with expect(409, "Conflict", "ObjectIsDeletedButRecoverable"):
        t.set("again")


def recover(t):
    old = t.set("old").properties.version
    t.set("new")
    t.delete()
    assert t.client.begin_recover_deleted_secret(t.name).result().name == t.name
    assert (t.value(), t.value(old)) == ("new", "old")


def purge(t):
    t.set()
    t.delete()
    t.client.purge_deleted_secret(t.name)
    with expect(404, "SecretNotFound"):
        t.client.get_deleted_secret(t.name)
    assert t.set("again").value == "again"


def case(t):
    t.set()
    assert t.client.get_secret(t.name.upper()).value == "s3cret"


def unknown(t):
    with expect(404, "SecretNotFound"):
        t.value()


def unknown_version(t):
    t.set()
    with expect(404, "SecretNotFound"):
        t.value("0" * 32)


def invalid_name(t):
    with expect(400, "BadParameter"):
        t.client.set_secret(f"{t.name}_underscore", "s3cret")


def throttled(t):
    t.set()
    t.fail(fail_with=429, fail_next=1, retry_after_s=1)
    started = time.monotonic()
    assert t.value() == "s3cret"
    assert time.monotonic() - started >= 1
    assert [call["status"] for call in t.seen()][-2:] == [429, 200]


def throttled_for_long(t):
    t.set()
    client = t.new_client(retry_total=0)
    t.fail(fail_with=429, fail_next=1, retry_after_s=None)
    with expect(429, "Throttled"):
        client.get_secret(t.name)


def unavailable(t):
    t.set()
    t.fail(fail_with=503, fail_next=2, retry_after_s=None)
    assert t.value() == "s3cret"


def one_token(t):
    t.set()
    before, client = len(t.seen()), t.new_client()
    for _ in range(5):
        client.get_secret(t.name)
    calls = t.seen()[before:]
    # All clients of a process share what the first one was told in its challenge.
    assert [call["status"] for call in calls] == [200] * 5, calls
    assert len({call["token"] for call in calls}) == 1 and all(call["read"] for call in calls)


def checked_challenge(t):
    t.set()
    before, client = len(t.seen()), t.new_client(verify_challenge_resource=True)
    try:
        client.get_secret(t.name)
    except ValueError as error:
        assert "does not match the requested domain" in str(error), error
        assert len(t.seen()) == before
        return
    raise AssertionError("it sent a token")


SCENARIOS = {
    "set and get": set_and_get,
    "a new version answers, the old one by its id": new_version,
    "versions in pages": versions,
    "list of secrets, without values": listed,
    "content type and tags": content_type,
    "not before and expiry are told, and do not stop a read": expiry,
    "disabled and enabled again": disabled,
    "an old version disabled": old_disabled,
    "delete": delete,
    "a deleted name cannot be set": deleted_name,
    "recover": recover,
    "purge": purge,
    "names know no case": case,
    "error: unknown secret": unknown,
    "error: unknown version": unknown_version,
    "error: invalid name": invalid_name,
    "throttled: waits as told and reads": throttled,
    "throttled: gives up": throttled_for_long,
    "unavailable for a moment": unavailable,
    "one challenge and one token for many reads": one_token,
    "a client that checks the challenge refuses": checked_challenge,
}


def main():
    url, plan = sys.argv[1], json.loads(sys.argv[2])
    client = SecretClient(url, ManagedIdentityCredential(), verify_challenge_resource=False)
    for scenario in plan:
        started, error = time.monotonic(), None
        try:
            SCENARIOS[scenario["name"]](Scenario(url, client, scenario["mark"]))
        except Exception:
            error = traceback.format_exc()
        report = {"name": scenario["name"], "error": error, "seconds": time.monotonic() - started}
        print(json.dumps(report), flush=True)


main()
