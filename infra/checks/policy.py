"""checkov's policies for Bicep, less the exceptions, each of which has a reason.

An exception that no longer excuses anything is a problem itself.
"""

import json
import subprocess
from pathlib import Path

import tools
from project import Problem

EXCEPTIONS = Path(__file__).parent / "checkov-exceptions.json"


def failed_checks(root):
    binary = tools.python_environment("checkov", tools.CHECKOV) / "checkov"
    command = [
        str(binary), "--directory", str(root), "--framework", "bicep", "--skip-download", "--compact", "--quiet",
        "--output", "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=tools.environment(), timeout=600)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise tools.MissingTool(f"checkov gave no answer: {lines[-1] if lines else done.returncode}") from None
    if "summary" not in answer:
        raise tools.MissingTool(f"checkov looked at nothing: {done.stdout.strip()[:200]}")
    for file in answer["results"]["parsing_errors"]:
        yield Problem(Path(file).name, 1, "checkov cannot read this file"), None
    for check in answer["results"]["failed_checks"]:
        place = check["file_path"].lstrip("/")
        resource = check["resource"].split(".")[-1]
        text = f"{check['check_id']} {check['check_name']} ({resource})"
        yield Problem(place, check["file_line_range"][0], text), (check["check_id"], f"{place}:{resource}")


def checkov(root):
    exceptions = json.loads(EXCEPTIONS.read_text())
    unused = {(check, place) for check, entry in exceptions.items() for place in entry["where"]}
    excused = set(unused)
    for problem, key in failed_checks(root):
        if key in excused:
            unused.discard(key)
        else:
            yield problem
    for check, place in sorted(unused):
        yield Problem("checks/" + EXCEPTIONS.name, 1, f"{check} at {place} is excused but does not fail")
