"""Loads envelopes, one a line, into the models of the official exporter; strictly. Prints a line for each type."""

import collections
import json
import sys

from azure.monitor.opentelemetry.exporter._generated.exporter import models

TYPES = {
    "RequestData": models.RequestData,
    "RemoteDependencyData": models.RemoteDependencyData,
    "MessageData": models.MessageData,
    "MetricData": models.MetricsData,
    "ExceptionData": models.TelemetryExceptionData,
}
# What the swagger calls required, and how long the service's own schema lets texts be.
REQUIRED = {
    "RequestData": ["id", "duration", "responseCode", "success", "ver"],
    "RemoteDependencyData": ["name", "duration", "ver"],
    "MessageData": ["message", "ver"],
    "MetricData": ["metrics", "ver"],
    "ExceptionData": ["exceptions", "ver"],
}
LONGEST = {"id": 512, "name": 1024, "responseCode": 1024, "resultCode": 1024, "target": 1024, "type": 1024, "data": 8192, "message": 32768}


def wrong(envelope):
    kind, data = envelope["data"]["baseType"], envelope["data"]["baseData"]
    model = TYPES.get(kind)
    if model is None:
        return f"{kind} is not known"
    models.TelemetryItem(envelope)
    model(data)
    known = {field._rest_name for field in model._attr_to_rest_field.values()}
    unknown = sorted(set(data) - known)
    missing = [name for name in REQUIRED[kind] if data.get(name) is None]
    missing += [name for name in ("name", "time", "iKey") if not envelope.get(name)]
    long = [name for name, most in LONGEST.items() if len(str(data.get(name) or "")) > most]
    long += [k for k, v in (data.get("properties") or {}).items() if len(k) > 150 or len(str(v)) > 8192]
    not_text = [k for k, v in (data.get("properties") or {}).items() if not isinstance(v, str)]
    problems = {"unknown": unknown, "missing": missing, "too long": long, "not text": not_text}
    return ", ".join(f"{what}: {names}" for what, names in problems.items() if names)


def main():
    good, bad = collections.Counter(), collections.Counter()
    for line in open(sys.argv[1], encoding="utf-8"):
        envelope = json.loads(line)
        key = f"{envelope['tags'].get('ai.cloud.role')} {envelope['data']['baseType']}"
        problem = wrong(envelope)
        if problem:
            bad[key] += 1
            print(f"FAIL {key}: {problem}")
        else:
            good[key] += 1
    for app in ("outbound-fn", "inbound-fn"):
        for kind in TYPES:
            # Only some runs have a failing acknowledgement.
            if app == "outbound-fn" and not good[f"{app} {kind}"]:
                bad[f"{app} {kind}"] += 1
                print(f"FAIL {app} sent no {kind}")
    for key in sorted(set(good) | set(bad)):
        print(f"{'FAIL' if bad[key] else 'ok':6}{key}: {good[key]} items")
    failed = sum(1 for key in bad if bad[key])
    print(f"{len(set(good) | set(bad)) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
