"""Sends spans, logs and metrics by the official exporter to the local Application Insights, over TLS, also while it
throttles, is unavailable, or takes only a part: the exporter has to understand each answer and send again what was
not taken. Prints a line for each case."""

import collections
import json
import logging
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# Neither of these is what the stand-in is for, and both speak to Azure.
os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"
os.environ["APPLICATIONINSIGHTS_SDKSTATS_DISABLED"] = "true"
os.environ["APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED"] = "true"

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness  # noqa: E402

from azure.monitor.opentelemetry.exporter import (  # noqa: E402
    AzureMonitorLogExporter,
    AzureMonitorMetricExporter,
    AzureMonitorTraceExporter,
)
from opentelemetry import trace  # noqa: E402
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler  # noqa: E402
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: E402
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402

# For a broken build, not a measurement.
TIME_LIMIT_SECONDS = 120
# Nothing leaves by the clock; each case says when.
NEVER_MS = 3_600_000


class Sink:
    def __init__(self, url):
        self.url = url

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as answer:
            return answer.read().decode()

    def counts(self):
        return json.loads(self.get("/counts"))

    def items(self):
        return [json.loads(line) for line in self.get("/items").splitlines()]

    def fail(self, **faults):
        """Faults as in `InsightsFaults`; those that are not named end."""
        ended = {"fail_with": None, "fail_next": None, "retry_after_s": None, "refuse_items_with": None, "refuse_next_items": None}
        body = json.dumps({**ended, **faults}).encode()
        urllib.request.urlopen(urllib.request.Request(self.url + "/_admin/faults", data=body)).close()

    def names(self):
        """How often each span, message and metric arrived."""
        names = collections.Counter()
        for item in self.items():
            data = item["data"]["baseData"]
            if item["data"]["baseType"] == "MetricData":
                names[data["metrics"][0]["name"]] += 1
            elif item["data"]["baseType"] == "ExceptionData":
                names[data["exceptions"][0]["message"]] += 1
            else:
                names[data.get("name") or data["message"]] += 1
        return names


class Teller:
    """The official exporters, as an app has them."""

    def __init__(self, connection_string, storage):
        common = {
            "connection_string": connection_string,
            "storage_directory": storage,
            # The least there is, so that a case takes seconds.
            "storage_min_retry_interval": 1,
        }
        resource = Resource.create({"service.name": "python"})
        self.spans = TracerProvider(resource=resource)
        exporter = AzureMonitorTraceExporter(**common)
        self.spans.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=NEVER_MS))
        self.logs = LoggerProvider(resource=resource)
        exporter = AzureMonitorLogExporter(**common)
        self.logs.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=NEVER_MS))
        exporter = AzureMonitorMetricExporter(**common)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=NEVER_MS)
        self.metrics = MeterProvider(metric_readers=[reader], resource=resource)
        self.meter = self.metrics.get_meter("conformance")
        self.logger = logging.getLogger("conformance")
        self.logger.propagate = False
        self.logger.addHandler(LoggingHandler(logger_provider=self.logs))

    def spans_of(self, *names):
        for name in names:
            with self.spans.get_tracer("conformance").start_as_current_span(name, kind=trace.SpanKind.CONSUMER):
                pass
        self.spans.force_flush()


def until(what, done):
    deadline = time.monotonic() + TIME_LIMIT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.2)


def once(sink, *names):
    seen = sink.names()
    return {name: seen[name] for name in names} == dict.fromkeys(names, 1)


def everything(sink, teller):
    tracer = teller.spans.get_tracer("conformance")
    with tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER) as span:
        with tracer.start_as_current_span("dependency", kind=trace.SpanKind.CLIENT):
            teller.logger.warning("message")
        span.record_exception(ValueError("exception"))
    teller.meter.create_counter("counter").add(1)
    teller.meter.create_histogram("histogram").record(0.5)
    for provider in (teller.spans, teller.logs, teller.metrics):
        provider.force_flush()
    until("all types", lambda: once(sink, "request", "dependency", "message", "exception", "counter", "histogram"))
    operations = {i["tags"].get("ai.operation.id") for i in sink.items() if i["data"]["baseType"] != "MetricData"}
    assert len(operations) == 1, f"one operation: {operations}"
    assert sink.counts()["refused"] == 0


def a_failing_request(status):
    def case(sink, teller):
        before = sink.counts()
        sink.fail(fail_with=status, fail_next=1, retry_after_s=1)
        teller.spans_of(f"sent into {status}")
        # What the exporter stored it sends after the next export that succeeds.
        until("it is sent again", lambda: once(sink, f"sent into {status}") or teller.spans_of(f"after {status}"))
        requests = sink.counts()["requests"] - before["requests"]
        assert requests >= 2, f"{requests} requests"

    return case


def a_part(sink, teller):
    before = sink.counts()
    names = [f"part {number}" for number in range(5)]
    sink.fail(refuse_items_with=503, refuse_next_items=2)
    teller.spans_of(*names)
    taken = sink.counts()["accepted"] - before["accepted"]
    assert taken == 3, f"{taken} of 5 taken at first"
    until("the rest is sent again", lambda: once(sink, *names) or teller.spans_of("after a part"))


CASES = {
    "spans, logs and metrics": everything,
    "429 with Retry-After, then success": a_failing_request(429),
    "503, then success": a_failing_request(503),
    "206: a part is taken, the rest is sent again": a_part,
}


def main():
    work = Path(tempfile.mkdtemp(prefix="insights-"))
    stand_in, at = harness.start_stand_in("application-insights", "--ca", work / "ca.pem")
    os.environ["REQUESTS_CA_BUNDLE"] = at["SSL_CERT_FILE"]
    failed = 0
    try:
        sink = Sink(at["items"])
        teller = Teller(at["APPLICATIONINSIGHTS_CONNECTION_STRING"], str(work / "storage"))
        for name, case in CASES.items():
            try:
                case(sink, teller)
                print(f"ok    {name}")
            except Exception as error:  # Whatever it is: the next case may still tell something.
                failed += 1
                print(f"FAIL  {name}: {type(error).__name__}: {error}")
            sink.fail()
    finally:
        stand_in.terminate()
        stand_in.wait()
    print(f"{len(CASES) - failed} passed, {failed} failed")
    # Not the way through the exporters' own goodbyes: there is nobody to say them to.
    sys.stdout.flush()
    os._exit(1 if failed else 0)


main()
