"""What the conformance runs share: installing clients, starting a stand-in, running scenarios, the table.

A client is a program that is given an endpoint and its plan (a JSON list of scenarios), and writes
one line of JSON per scenario: {"name", "error" (null or text), "seconds"}.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = ["python", "node"]
# For all clients together; a hanging client is a failure, not a hanging run.
TIME_LIMIT_SECONDS = 240


def chosen_clients():
    """The clients named on the command line, or all."""
    clients = [argument for argument in sys.argv[1:] if not argument.startswith("--")] or CLIENTS
    unknown = set(clients) - set(CLIENTS)
    if unknown:
        sys.exit(f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    return clients


def run_quietly(command, **options):
    """Runs an installer; its output is of interest only if it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{result.stdout}")


def install(work, name, pinned, install_it):
    """Installs a client unless the same pinned versions are installed already."""
    stamp = work / f"{name}.stamp"
    version = hashlib.sha256(pinned.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != version:
        stamp.unlink(missing_ok=True)
        install_it()
        stamp.write_text(version)


def commands(here, work, clients):
    """How to run each client of the folder `here`, once it is installed (Python's into `work`)."""
    work.mkdir(parents=True, exist_ok=True)

    def install_python():
        run_quietly([sys.executable, "-m", "venv", "--clear", work / "venv"])
        requirements = here / "python" / "requirements.txt"
        run_quietly([work / "venv" / "bin" / "pip", "install", "--quiet", "--requirement", requirements])

    def install_node():
        run_quietly(["npm", "ci", "--no-audit", "--no-fund"], cwd=here / "node")

    result = {}
    if "python" in clients:
        install(work, "python", here / "python" / "requirements.txt", install_python)
        result["python"] = [work / "venv" / "bin" / "python", here / "python" / "client.py"]
    if "node" in clients:
        if not (here / "node" / "node_modules").exists():
            (work / "node.stamp").unlink(missing_ok=True)
        install(work, "node", here / "node" / "package-lock.json", install_node)
        result["node"] = ["node", here / "node" / "client.js"]
    return result


def start_stand_in(*arguments):
    """Starts `dvsync emulate ...` and waits for its first line, which tells where it is."""
    dvsync = shlex.split(os.environ.get("DVSYNC", "cargo run -q --bin dvsync --"))
    command = [*dvsync, "emulate", *map(str, arguments), "--listen", "127.0.0.1:0", "--json"]
    stand_in = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    line = stand_in.stdout.readline()
    try:
        return stand_in, json.loads(line)
    except ValueError:
        stand_in.terminate()
        sys.exit(f"the stand-in did not start; its first line was {line!r}")


def run_client(command, endpoint, plan, results):
    """Runs all scenarios of the plan; results become (error, seconds) by scenario name."""
    process = subprocess.Popen(
        [*map(str, command), endpoint, json.dumps(plan)], stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(TIME_LIMIT_SECONDS, process.kill)
    timer.start()
    for line in process.stdout:
        report = json.loads(line)
        results[report["name"]] = (report["error"], report["seconds"])
    process.wait()
    timer.cancel()


def run_clients(client_commands, scenarios, endpoint, plan, page=None):
    """Runs all clients side by side, prints the table, and says whether everything passed.

    `endpoint` and `plan` are given a client's name; a plan entry is what that client is told of one
    scenario. A scenario with "clients" exists for these only. `page` is given the scenarios and the
    results; it returns whether what is published agrees with them.
    """
    started = time.monotonic()
    results = {client: {} for client in client_commands}
    threads = [
        threading.Thread(target=run_client, args=(command, endpoint(client), plan(client), results[client]))
        for client, command in client_commands.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed, failed = print_table(scenarios, results)
    agrees = page is None or page(scenarios, results)
    print(f"\nin {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return failed == 0 and agrees


def has(client, scenario):
    """Whether the client can do what the scenario asks for."""
    return client in scenario.get("clients", CLIENTS)


def print_table(scenarios, results):
    """The table, then what went wrong; the numbers of passed and failed scenarios."""
    passed = failed = 0
    errors = []
    width = max(len(scenario["name"]) for scenario in scenarios)
    print(f"{'scenario':{width}}  " + "  ".join(f"{client:13}" for client in results))
    for scenario in scenarios:
        cells = []
        for client, reports in results.items():
            if not has(client, scenario):
                cells.append("-")
                continue
            error, seconds = reports.get(scenario["name"], ("the client ended before this scenario", 0))
            if error is None:
                passed += 1
                cells.append(f"{'ok':6} {seconds:4.1f} s")
            else:
                failed += 1
                cells.append(f"FAILED {seconds:4.1f} s")
                errors.append(f"{client}, {scenario['name']}:\n{error.rstrip()}\n")
        print(f"{scenario['name']:{width}}  " + "  ".join(f"{cell:13}" for cell in cells).rstrip())
    for error in errors:
        print("\n" + error)
    return passed, failed
