"""What the queries must answer about a handful of telemetry items. Each test is a sentence."""

import json
import re
import subprocess

import queries
import tools

ONE, TWO, THREE = (f"{n * 8}-{n * 4}-{n * 4}-{n * 4}-{n * 12}" for n in "123")


def item(table, ago_s, operation="", role="func-outbound", dimensions=None, **columns):
    """One item, so many seconds ago."""
    weight = {} if table == "customMetrics" else {"itemCount": 1}
    # A time is counted when the queries run: on a slow machine that is much later than now.
    base = {"timestamp": ago_s, "operation_Id": operation, "cloud_RoleName": role}
    return [table, {**base, **weight, "customDimensions": {k.replace("__", "."): v for k, v in (dimensions or {}).items()}, **columns}]


def attempt(ago_s, change, name, success="True", weight=1, **dimensions):
    held = {
        "correlation_id": change, "row": f"account:{change[::-1]}", "table": "account", "target": "erp", "invocation_id": f"i-{ago_s}-{change[0]}",
        "retry_count": "0", "delivery_count": "1", **dimensions,
    }
    return item("requests", ago_s, change.replace("-", ""), "func-" + name.lower(), held, name=name, success=success, duration=12.0, itemCount=weight)


def metric(ago_s, name, value, role="func-outbound", count=None, most=None, **dimensions):
    return item("customMetrics", ago_s, "", role, dimensions, name=name, value=value, valueSum=value, valueCount=count, valueMax=most)


FAILED = {"failure__stage": "deliver", "failure__code": "TargetUnavailable", "failure__class": "Transient"}
ITEMS = [
    # ONE: saved, fails once, delivered, acknowledged.
    item("requests", 1300, ONE.replace("-", ""), "dataverse", {"correlation_id": ONE}, name="account Update", success="True", duration=3.0),
    attempt(1290, ONE, "Outbound", "False", disposition="rescheduled", delay_ms="10000", **FAILED),
    item("exceptions", 1290, ONE.replace("-", ""), dimensions={"correlation_id": ONE}, type="deliver/TargetUnavailable", outerMessage="503 from the target"),
    attempt(1280, ONE, "Outbound", disposition="completed", outcome="delivered", lag_ms="20000", retry_count="1"),
    item("dependencies", 1280, ONE.replace("-", ""), dimensions={"correlation_id": ONE, "peer": "target"}, name="PUT /customers/{key}", target="erp", success="True", duration=8.0),
    # Another notification's flight, which took ONE along.
    item("dependencies", 1279, "f" * 32, dimensions={"_MS.links": json.dumps([{"operation_Id": ONE.replace("-", ""), "id": "1"}])}, name="flight", success="True", duration=9.0),
    attempt(1275, ONE, "Inbound", disposition="completed", outcome="written", lag_ms="25000"),
    # TWO: given up. THREE: delivered, never acknowledged; it stands for ten.
    attempt(1000, TWO, "Outbound", "False", disposition="dead_lettered", reason="Rejected", failure__stage="deliver", failure__code="TargetRejected", failure__class="Permanent"),
    attempt(900, THREE, "Outbound", weight=10, disposition="completed", outcome="delivered"),
    # The host's own: one invocation that the app tells of, too, and one that it never did.
    item("requests", 1290, ONE.replace("-", ""), "func-outbound", {"InvocationId": "i-1290-1"}, name="Outbound", success="False", duration=13.0),
    item("requests", 800, "d" * 32, "func-outbound", {"InvocationId": "i-lost"}, name="Outbound", success="False", duration=13.0),
    metric(1280, "dvsync.lag.delivered_seconds", 30.0, count=3, most=20.0, table="account", target="erp"),
    metric(1275, "dvsync.lag.acknowledged_seconds", 25.0, count=1, most=25.0, table="account", target="erp"),
    metric(200, "dvsync.acknowledged", 90.0, table="account", target="erp", within_objective="true"),
    metric(200, "dvsync.acknowledged", 10.0, table="account", target="erp", within_objective="false"),
    metric(100, "dvsync.messages.received", 13.0, direction="outbound"),
    metric(100, "dvsync.messages", 11.0, direction="outbound", table="account", target="erp", disposition="completed", outcome="delivered"),
    metric(100, "dvsync.messages", 1.0, direction="outbound", table="account", target="erp", disposition="dead_lettered"),
    metric(400, "dvsync.queue.oldest_seconds", 900.0, queue="outbound"),
    metric(100, "dvsync.queue.oldest_seconds", 5.0, queue="outbound"),
    metric(100, "dvsync.queue.dead_letter_oldest_seconds", 950.0, queue="outbound"),
    metric(100, "dvsync.dataverse.requests", 20.0, identity="app", result="served"),
    metric(100, "dvsync.dataverse.requests", 2.0, identity="app", result="throttled"),
    metric(100, "dvsync.dataverse.throttles", 2.0, identity="app", limit="window"),
    metric(100, "dvsync.dataverse.concurrency", 4.0, identity="app"),
    metric(160, "dvsync.dataverse.concurrency", 8.0, identity="app"),
    metric(100, "dvsync.dataverse.in_flight", 3.0, identity="app"),
    metric(100, "dvsync.dataverse.held_back", 1.0, identity="app"),
    metric(160, "dvsync.dataverse.held_back", 0.0, identity="app"),
    # The target's breaker was open, and closed in between. Dataverse's did not close.
    *(metric(ago_s, "dvsync.breaker.state", state, system="target") for ago_s, state in ((100, 2.0), (300, 0.0), (500, 2.0))),
    *(metric(ago_s, "dvsync.breaker.state", state, system="Dataverse") for ago_s, state in ((100, 2.0), (300, 1.0), (500, 2.0))),
    ["AzureMetrics", {"TimeGenerated": 300, "ResourceProvider": "MICROSOFT.SERVICEBUS", "MetricName": "ActiveMessages", "Minimum": 7.0}],
]

CHANGE = ("queries/change.kql", {"wanted": f"'{ONE}'"})


def has(rows, **wanted):
    return any(all(row.get(k) == v for k, v in wanted.items()) for row in rows)


# (what must hold, query and parameters, whether it does)
TESTS = [
    ("a change is shown from the save to the acknowledgement, in order", CHANGE,
     lambda r: [x["what"] for x in r if x["item"] == "requests"] == ["account Update", "Outbound", "Outbound", "Inbound"]),
    ("a change's failed attempt is shown with what was said", CHANGE, lambda r: has(r, what="deliver/TargetUnavailable", says="503 from the target")),
    ("a flight that took the change along is shown, although it is in another trace", CHANGE, lambda r: has(r, what="flight")),
    ("a change is found by its row's id", ("queries/change.kql", {"wanted": f"'{ONE[::-1]}'"}), lambda r: len(r) == 7),
    ("nothing is found by an id that nobody has", ("queries/change.kql", {"wanted": "'nobody'"}), lambda r: r == []),
    ("lag's count, mean and maximum are the metrics'", ("queries/lag.kql", {}), lambda r: has(r, stage="delivered", changes=3, mean_s=10.0, max_s=20.0)),
    ("lag's percentiles are the requests'", ("queries/lag.kql", {}), lambda r: has(r, stage="acknowledged", p50_s=25.0, p95_s=25.0)),
    ("lag of another target is none of this one's", ("queries/lag.kql", {"only_target": "'shop'"}), lambda r: r == []),
    ("lag by hour", ("queries/lag-by-hour.kql", {}), lambda r: has(r, stage="delivered", changes=3, mean_s=10.0, p50_s=20.0)),
    ("the objective is met by what was acknowledged in time", ("queries/objective.kql", {}), lambda r: has(r, changes=100.0, within_percent=90.0)),
    ("failures are told apart by reason, each with an example", ("queries/failing.kql", {}),
     lambda r: has(r, reason="deliver/TargetUnavailable", attempts=1, example=ONE, says="503 from the target") and has(r, reason="deliver/TargetRejected", given_up=1)),
    ("failures that came late in the time asked for are rising", ("queries/failing.kql", {}), lambda r: all(x["trend"] == "rising" for x in r)),
    ("failures by hour", ("queries/failing-by-hour.kql", {}), lambda r: sum(x["attempts"] for x in r) == 2),
    ("what was received and not settled is in work", ("queries/ledger.kql", {}), lambda r: has(r, direction="outbound", received=13.0, in_work=1.0, dead_lettered=1.0)),
    ("a queue is as it was last seen", ("queries/queues.kql", {}), lambda r: has(r, queue="outbound", oldest_s=5.0, dead_letter_oldest_s=950.0)),
    ("dead letters by reason", ("queries/dead-letters.kql", {}), lambda r: len(r) == 1 and has(r, reason="Rejected", messages=1, example=TWO)),
    ("unacknowledged are the given up and the forgotten, not the acknowledged", ("queries/unacknowledged.kql", {}),
     lambda r: [x["correlation_id"] for x in r] == [TWO, THREE]),
    ("never started is what only the host tells of", ("queries/never-started.kql", {}), lambda r: len(r) == 1 and has(r, invocations=1, example="d" * 32)),
    ("Dataverse by identity: refused, the governor's mean, held back half of the time", ("queries/dataverse.kql", {}),
     lambda r: has(r, served=20.0, throttled=2.0, concurrency_avg=6.0, in_flight_max=3.0, held_back_percent=50.0)),
    ("requests for each change, and throttles by limit", ("queries/dataverse-by-hour.kql", {}), lambda r: has(r, requests_per_change=2.0, by_window=2.0, by_concurrency=0.0)),
    ("the oldest message alert takes the worst of the window", ("alerts/oldest-message.kql", {}), lambda r: has(r, queue="outbound", seconds=900.0)),
    ("a tenth late burns a hundredth's budget ten times too fast", ("alerts/lag-burn-fast.kql", {}), lambda r: has(r, target="erp", burn=10.0)),
    ("the same over six hours", ("alerts/lag-burn-slow.kql", {}), lambda r: has(r, target="erp", burn=10.0)),
    ("a looser objective burns slower", ("alerts/lag-burn-fast.kql", {"objective_percent": "95.0"}), lambda r: has(r, burn=2.0)),
    ("a failure rate weighs what sampling left out", ("alerts/failure-rate.kql", {"least_attempts": "10"}),
     lambda r: len(r) == 1 and has(r, function="Outbound") and round(r[0]["percent"], 2) == 15.38),
    ("too few attempts have no failure rate", ("alerts/failure-rate.kql", {}), lambda r: r == []),
    ("unsettled is counted by what the host says, once", ("alerts/unsettled.kql", {}), lambda r: r == [{"app": "func-outbound", "invocations": 2}]),
    ("a breaker that does not close is told, one that closed in between is not", ("alerts/breaker-open.kql", {}),
     lambda r: has(r, system="Dataverse", state=1.0) and has(r, system="target", state=0.0)),
    ("held back half of the time is fifty percent", ("alerts/throttling.kql", {}), lambda r: has(r, identity="app", percent=50.0)),
    ("messages wait and nobody says anything", ("alerts/silence.kql", {}), lambda r: has(r, silent=1, waiting=7.0)),
]


def with_parameters(text, parameters):
    for name, value in parameters.items():
        text, found = re.subn(rf"^let {name} = .*;$", f"let {name} = {value};", text, count=1, flags=re.M)
        assert found, f"no parameter {name}"
    return text


def run(root):
    """(sentence, whether it holds, what was answered instead) of each test, and the files that no test runs."""
    tables = {}
    for scope in ("component", "workspace"):
        for name, columns in queries.TABLES[scope].items():
            tables[name] = {**columns, **(queries.TABLES["common"] if scope == "component" else {})}
    texts = {str(n): with_parameters((root / "monitoring" / query).read_text(), parameters) for n, (_, (query, parameters), _) in enumerate(TESTS)}
    python = tools.python_environment("duckdb-kql", tools.DUCKDB_KQL) / "python"
    command = [str(python), str(queries.HERE / "run_queries.py")]
    given = json.dumps({"tables": tables, "items": ITEMS, "queries": texts})
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=tools.environment(), timeout=300)
    if done.returncode != 0:
        raise tools.MissingTool(f"{tools.DUCKDB_KQL} gave no answer: {done.stderr.strip().splitlines()[-1:]}")
    answers = json.loads(done.stdout)
    for n, (sentence, _, holds) in enumerate(TESTS):
        answer = answers[str(n)]
        yield sentence, isinstance(answer, list) and bool(holds(answer)), answer
    run_by_a_test = {query for _, (query, _), _ in TESTS}
    for path in sorted((root / "monitoring").glob("*/*.kql")):
        if (name := str(path.relative_to(root / "monitoring"))) not in run_by_a_test:
            yield f"{name} is run by a test", False, "it is not"
