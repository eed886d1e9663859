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


def azmcp():
    place = WORK / "azmcp"
    binary = place / "node_modules" / "@azure" / "mcp-linux-x64" / "dist" / "azmcp"
    stamp = place / "installed"
    if not (stamp.exists() and stamp.read_text() == AZMCP and binary.exists()):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text(json.dumps({"private": True}))
        if not shutil.which("npm"):
            raise MissingTool(f"cannot install {AZMCP}, so no resource can be checked: there is no npm")
        run(AZMCP, "npm", "install", "--prefix", place, "--no-audit", "--no-fund", "--loglevel", "error", AZMCP)
        if not binary.exists():
            raise MissingTool(f"{AZMCP} has no {binary.name}: is this Linux on x86-64?")
        stamp.write_text(AZMCP)
    return binary


def environment():
    return {**os.environ, "AZURE_MCP_COLLECT_TELEMETRY": "false"}
