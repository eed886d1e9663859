"""Runs the queries on a handful of telemetry items in DuckDB, by duckdb-kql. Reads {tables, items, queries} from stdin and
writes {query: rows} to stdout. Run under the Python that has it.

duckdb-kql has no weighted percentiles. These run unweighted here, so items with a weight other than 1 have no lag.
"""

import datetime
import json
import re
import sys

import duckdb_kql

SQL_TYPES = {"datetime": "TIMESTAMP", "string": "VARCHAR", "dynamic": "JSON", "real": "DOUBLE", "int": "INTEGER"}


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def main():
    given = json.load(sys.stdin)
    connection = duckdb_kql.connect()
    for table, columns in given["tables"].items():
        declared = ", ".join(f'"{column}" {SQL_TYPES[type_name]}' for column, type_name in columns.items())
        connection.sql(f"CREATE TABLE {table} ({declared})")
    # Timestamps come as seconds before now.
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
    for table, values in given["items"]:
        time = "timestamp" if "timestamp" in values else "TimeGenerated"
        values[time] = (now - datetime.timedelta(seconds=values[time])).isoformat()
        names = ", ".join(f'"{name}"' for name in values)
        held = [json.dumps(v) if isinstance(v, dict) else v for v in values.values()]
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(held))})", held)
    answers = {}
    for name, text in given["queries"].items():
        text = re.sub(r"percentilew\((\w+), itemCount, (\d+)\)", r"percentile(\1, \2)", text)
        try:
            found = duckdb_kql.query(connection, text)
            columns = list(found.columns)
            answers[name] = [{c: plain(v) for c, v in zip(columns, row)} for row in found.fetchall()]
        except Exception as error:  # whatever the engine does not know is told with the query's name
            answers[name] = f"{type(error).__name__}: {error}"
    json.dump(answers, sys.stdout)


main()
