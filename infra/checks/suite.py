"""Runs the checks over a folder, and then over copies of it with mistakes in them."""

import time
from pathlib import Path

import mistakes
import pipelines
import policy
import project as files
import queries
import query_tests
import resources
import rules
import symbols
import workbook
from azure_types import Types

INFRA = Path(__file__).resolve().parents[1]

# What cannot be read is not looked at further, so syntax comes first.
CHECKS = [
    ("syntax", files.syntax),
    ("names", symbols.names),
    ("modules", symbols.modules),
    ("known at the start", symbols.start),
    ("no cycles", symbols.cycles),
    ("parameter files", symbols.parameter_files),
    ("roles", rules.roles),
    ("values that must hold", rules.values_that_must_hold),
    ("secrets", rules.secrets),
    ("deadlines", rules.deadlines),
    ("app settings", rules.app_settings),
    ("Kusto's language service", queries.language),
    ("names in queries", queries.names),
    ("queries in templates", queries.loaded),
    ("workbook", workbook.up_to_date),
    ("alerts explained", queries.explained),
]


def problems(root, types):
    """The problems of a folder by check, without checkov's."""
    project = files.Project(root)
    checks = [*CHECKS, ("Microsoft's types", lambda p: resources.resources(p, types))]
    found = {}
    for name, check in checks:
        found[name] = list(check(project))
        if name == "syntax" and found[name]:
            break
    return found


def report(found):
    for name, listed in found.items():
        print(f"{'ok  ' if not listed else 'FAIL'} {name}")
        for problem in listed:
            print(f"     {problem}")


def main(arguments):
    start = time.monotonic()
    root = Path(arguments[0]).resolve() if arguments else INFRA
    project = files.Project(root)
    kinds = {d.type for f in project.templates for d in f.of("resource")}
    print(f"{len(project.templates)} templates, {len(project.parameter_files)} parameter files, {len(kinds)} resource types")
    types = Types()
    found = problems(root, types)
    # Somebody's own folder need not have the text that the mistakes change.
    plant = (lambda place: None) if arguments else (lambda place: mistakes.plant_for_checkov(root, place))
    found["checkov"], said = policy.checkov(root, plant)
    report(found)
    if any(found.values()):
        return 1
    if arguments:
        return 0
    print(f"\n{len(query_tests.TESTS)} tests of the queries, run on DuckDB")
    wrong = [(sentence, answer) for sentence, holds, answer in query_tests.run(root) if not holds]
    for sentence, answer in wrong:
        print(f"FAIL {sentence}: {answer}")
    print("\npipelines, and mistakes in them")
    judged = list(pipelines.check())
    for what, fine, answer in judged:
        print(f"{'ok  ' if fine else 'FAIL'} {what:<55} {answer}")
    passed, failed = mistakes.run(root, lambda copy: problems(copy, types), said)
    print(f"in {time.monotonic() - start:.0f} s")
    failed += len(wrong) + sum(not fine for _, fine, _ in judged)
    passed += len(query_tests.TESTS) - len(wrong) + sum(fine for _, fine, _ in judged)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
