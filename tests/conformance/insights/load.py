"""Loads envelopes into the models of the official exporter, strictly: the golden ones of a folder, and those of a run,
one a line. Prints a line for each type."""

import collections
import json
import sys
from pathlib import Path

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
    golden, run = Path(sys.argv[1]), Path(sys.argv[2])
    found = [("golden", json.loads(file.read_text(encoding="utf-8"))) for file in sorted(golden.glob("*.json"))]
    for line in run.open(encoding="utf-8"):
        envelope = json.loads(line)
        found.append((envelope["tags"].get("ai.cloud.role"), envelope))
    good, bad = collections.Counter(), collections.Counter()
    for source, envelope in found:
        key = f"{source} {envelope['data']['baseType']}"
        problem = wrong(envelope)
        if problem:
            bad[key] += 1
            print(f"FAIL {key}: {problem}")
        else:
            good[key] += 1
    # Of inbound-fn only some runs have a failing acknowledgement.
    for source in ("golden", "outbound-fn"):
        for kind in TYPES:
            if not good[f"{source} {kind}"]:
                bad[f"{source} {kind}"] += 1
                print(f"FAIL {source} has no {kind}")
    for key in sorted(set(good) | set(bad)):
        print(f"{'FAIL' if bad[key] else 'ok':6}{key}: {good[key]} items")
    failed = sum(1 for key in bad if bad[key])
    print(f"{len(set(good) | set(bad)) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
