"""checkov's policies for Bicep, less the exceptions, each of which has a reason.

An exception that no longer excuses anything is a problem itself. One that names no place turns the policy off.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import tools
from project import Problem

EXCEPTIONS = Path(__file__).parent / "checkov-exceptions.json"
TEMPLATES = shutil.ignore_patterns("checks", "check", "__pycache__", "*.md")


def exceptions():
    return json.loads(EXCEPTIONS.read_text())


def failed_checks(directory):
    """(place, line, check's id, what it says) of each failed check; the place is FILE:RESOURCE."""
    binary = tools.python_environment("checkov", tools.CHECKOV) / "checkov"
    off = ",".join(check for check, entry in exceptions().items() if not entry["where"])
    command = [
        str(binary), "--directory", str(directory), "--framework", "bicep", "--skip-download", "--compact",
        "--output", "json", "--skip-check", off,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=tools.environment(), timeout=900)
    try:
        answer = json.loads(done.stdout)
        results, unread = answer["results"], answer["summary"]["parsing_errors"]
    except (ValueError, KeyError, TypeError):
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise tools.MissingTool(f"checkov gave no answer: {lines[-1] if lines else done.returncode}") from None
    if unread:
        files = ", ".join(Path(f).name for f in results.get("parsing_errors", []))
        raise tools.MissingTool(f"checkov, whose parser is older, cannot read {files or unread}: write it more plainly")
    for check in results["failed_checks"]:
        resource = check["resource"].split(".")[-1]
        place = f"{check['file_path'].lstrip('/')}:{resource}"
        yield place, check["file_line_range"][0], check["check_id"], check["check_name"]


def checkov(root, planted):
    """The problems of a folder, and what is said of copies of its files with mistakes in them.

    checkov takes half a minute to start, so it looks at both at once. planted: how to write the copies.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        shutil.copytree(root, place / "clean", ignore=TEMPLATES)
        planted(place / "planted")
        found = list(failed_checks(place))
    said = {(where.removeprefix("planted/"), check) for where, _, check, _ in found if where.startswith("planted/")}
    return list(problems(found)), said


def problems(found):
    unused = {(check, place) for check, entry in exceptions().items() for place in entry["where"]}
    excused = set(unused)
    for where, line, check, name in found:
        if not where.startswith("clean/"):
            continue
        key = (check, where.removeprefix("clean/"))
        unused.discard(key)
        if key not in excused:
            file, resource = key[1].rsplit(":", 1)
            yield Problem(file, line, f"{check} {name} ({resource})")
    for check, place in sorted(unused):
        yield Problem("checks/" + EXCEPTIONS.name, 1, f"{check} at {place} is excused but does not fail")
