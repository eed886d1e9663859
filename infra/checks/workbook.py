"""The workbook is made from the queries, so that no query exists twice. monitoring/build writes it; the check tells when
somebody changed a query and did not."""

import json
import re

from project import Problem

# What a query's parameters are in the workbook. A file's own values stay where there is none.
PARAMETERS = {
    "since": "datetime({TimeRange:startISO})",
    "until": "datetime({TimeRange:endISO})",
    "only_table": "'{Table}'",
    "only_target": "'{Target}'",
    "wanted": "'{Change}'",
}

# (heading and what it says, [(title, query, visualization, percent of the width)])
SECTIONS = [
    ("Where is a change?", "Type a correlation id, notification id or row id above, or click a line in a table below that has an example.",
     [("Everything that was said about it", "change", "table", 100)]),
    ("How late are we?", "Percentiles are of the requests that sampling kept, weighted; count, mean and maximum are exact.",
     [("Lag", "lag", "table", 100), ("p95 by hour, seconds", "lag-by-hour", "timechart", 50), ("Acknowledged in time, percent by hour", "objective", "timechart", 50)]),
    ("What is failing?", "Click a line: its example shows above.",
     [("By reason", "failing", "table", 100), ("Failed attempts by hour", "failing-by-hour", "barchart", 100)]),
    ("Is anything lost or stuck?", "Received less settled is in work. Dead letters of the broker itself show as the age of the oldest.",
     [("Oldest change on each queue, seconds", "queues", "tiles", 100), ("Ledger", "ledger", "table", 100), ("Dead letters by reason", "dead-letters", "table", 100),
      ("Announced, never acknowledged", "unacknowledged", "table", 100), ("Handed over, never told of again", "never-started", "table", 100)]),
    ("Is Dataverse throttling us?", "By identity: limits count for each of them.",
     [("Identities", "dataverse", "table", 100), ("Requests for each change, and throttles by limit", "dataverse-by-hour", "table", 100)]),
]
CHARTS = {
    "lag-by-hour": {"xAxis": "hour", "yAxis": ["p95_s"], "group": "stage", "createOtherGroup": None},
    "objective": {"xAxis": "hour", "yAxis": ["within_percent"]},
    "failing-by-hour": {"xAxis": "hour", "yAxis": ["attempts"], "group": "reason", "createOtherGroup": 10},
}
# The column of a table whose value becomes the change that is shown.
EXAMPLES = {"failing": "example", "dead-letters": "example", "unacknowledged": "correlation_id"}
RED_ABOVE_NOTHING = {"formatter": 8, "formatOptions": {"min": 0, "palette": "whiteRed"}}


def in_workbook(text):
    """A query with the workbook's parameters in the place of its own values."""
    for name, value in PARAMETERS.items():
        text = re.sub(rf"^let {name} = .*;$", lambda _: f"let {name} = {value};", text, flags=re.M)
    return text


def text_item(markdown, name):
    return {"type": 1, "content": {"json": markdown}, "name": name}


def choice(label, dimension):
    query = (
        f"customMetrics | where timestamp > ago(7d) | where name == 'dvsync.messages'\n"
        f"| distinct value = tostring(customDimensions[\"{dimension}\"]) | where isnotempty(value) | order by value asc\n"
        "| project value, label = value, selected = false"
    )
    return {
        "id": f"choice-{dimension}", "version": "KqlParameterItem/1.0", "name": label, "label": label, "type": 2, "query": query, "value": "",
        "typeSettings": {"additionalResourceOptions": [], "showDefault": False}, "queryType": 0, "resourceType": "microsoft.insights/components",
    }


def parameters():
    spans = [3600000, 14400000, 43200000, 86400000, 259200000, 604800000, 1209600000]
    time = {
        "id": "time-range", "version": "KqlParameterItem/1.0", "name": "TimeRange", "label": "Time", "type": 4, "isRequired": True,
        "value": {"durationMs": 86400000}, "typeSettings": {"selectableValues": [{"durationMs": span} for span in spans], "allowCustom": True},
    }
    change = {"id": "change", "version": "KqlParameterItem/1.0", "name": "Change", "label": "Correlation, notification or row id", "type": 1, "value": ""}
    content = {
        "version": "KqlParameterItem/1.0", "parameters": [time, choice("Table", "table"), choice("Target", "target"), change],
        "style": "pills", "queryType": 0, "resourceType": "microsoft.insights/components",
    }
    return {"type": 9, "content": content, "name": "parameters"}


def query_item(title, query, text, look, width):
    content = {
        "version": "KqlItem/1.0", "query": in_workbook(text), "size": 0, "title": title, "noDataMessage": "Nothing in this time.",
        "timeContextFromParameter": "TimeRange", "queryType": 0, "resourceType": "microsoft.insights/components", "visualization": look,
    }
    if query in CHARTS:
        content["chartSettings"] = CHARTS[query]
    if query in EXAMPLES:
        content["exportedParameters"] = [{"fieldName": EXAMPLES[query], "parameterName": "Change", "parameterType": 1}]
    if look == "tiles":
        content["tileSettings"] = {
            "titleContent": {"columnMatch": "queue", "formatter": 1}, "leftContent": {"columnMatch": "oldest_s", "formatter": 12},
            "secondaryContent": {"columnMatch": "dead_letter_oldest_s", **RED_ABOVE_NOTHING}, "showBorder": True,
        }
    if look == "table":
        red = ["given_up", "dead_lettered", "left_to_broker", "invocations", "throttled", "messages"]
        content["gridSettings"] = {"formatters": [{"columnMatch": f"^{column}$", **RED_ABOVE_NOTHING} for column in red], "filter": True, "rowLimit": 1000}
    item = {"type": 3, "content": content, "name": query}
    return item if width == 100 else {**item, "customWidth": str(width)}


def build(monitoring):
    """The workbook's text."""
    portal = "https://portal.azure.com/#resourceINSIGHTS_ID"
    head = (
        "# dataverse-sync\nFrom the save in Dataverse to the acknowledgement on the row. What to do about what you see here: `docs/operations.md`.\n\n"
        f"[Transaction search]({portal}/searchV1) · [Application map]({portal}/applicationMap) · [Failures]({portal}/failures) · [Logs]({portal}/logs)"
    )
    items = [text_item(head, "head"), parameters()]
    for heading, says, queries in SECTIONS:
        items.append(text_item(f"## {heading}\n{says}", heading))
        for title, query, look, width in queries:
            items.append(query_item(title, query, (monitoring / "queries" / f"{query}.kql").read_text(), look, width))
    whole = {
        "version": "Notebook/1.0", "items": items, "fallbackResourceIds": ["INSIGHTS_ID"],
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def up_to_date(project):
    """workbook.json is what the queries make, and shows all of them."""
    monitoring = project.root / "monitoring"
    if not monitoring.exists():
        return
    shown = {query for _, _, queries in SECTIONS for _, query, _, _ in queries}
    for path in sorted((monitoring / "queries").glob("*.kql")):
        if path.stem not in shown:
            yield Problem(f"monitoring/queries/{path.name}", 1, "the workbook does not show this query")
    held = monitoring / "workbook.json"
    if not held.exists() or held.read_text() != build(monitoring):
        yield Problem("monitoring/workbook.json", 1, "is not what the queries make: run infra/monitoring/build")
