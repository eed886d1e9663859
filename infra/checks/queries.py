"""The KQL files: judged by Microsoft's own Kusto language service against the tables' columns, and every metric,
request, dimension and value that they name against monitoring/names.json."""

import json
import re
import subprocess
from pathlib import Path

import bicep
import tools
import workbook
from project import Problem

HERE = Path(__file__).parent
TABLES = json.loads((HERE / "kusto-tables.json").read_text())
# The service takes seconds to start, and the planted mistakes read the same texts many times.
JUDGED = {}

DIMENSION = re.compile(r"""customDimensions\[["']([^"']+)["']\]""")
METRIC = re.compile(r"'(dvsync\.[a-z_.]*[a-z_])'")
VALUE = re.compile(r"""(?:tostring\(customDimensions\["([\w.]+)"\]\)|\b(disposition|direction|result|limit|outcome|system)) [!=]= '([^']*)'""")
REQUEST = re.compile(r"\bname [!=]= '([^']*)'")


def files(project):
    return sorted((project.root / "monitoring").glob("*/*.kql"))


def tables_of(text):
    """A query on the workspace names its tables; all others are on the component, where columns are called otherwise."""
    scope = "workspace" if re.search(r"\b(App[A-Z]\w+|AzureMetrics)\b", text) else "component"
    common = TABLES["common"] if scope == "component" else {}
    return scope, {name: {**columns, **common} for name, columns in TABLES[scope].items()}


def judge(texts):
    for scope in ("component", "workspace"):
        new = {t: t for t in texts if t not in JUDGED and tables_of(t)[0] == scope}
        if not new:
            continue
        given = json.dumps({"tables": tables_of(next(iter(new)))[1], "queries": new})
        modules = tools.node_modules("kusto", tools.KUSTO)
        command = ["node", str(HERE / "kusto.js")]
        done = subprocess.run(command, input=given, capture_output=True, text=True, env={**tools.environment(), "NODE_PATH": str(modules)}, timeout=300)
        if done.returncode != 0:
            raise tools.MissingTool(f"{tools.KUSTO} gave no answer: {done.stderr.strip().splitlines()[-1:]}")
        JUDGED.update({text: [(s["line"], s["text"]) for s in said] for text, said in json.loads(done.stdout).items()})


def language(project):
    """Syntax, columns, functions and types, as Kusto itself would judge them."""
    texts = {str(path.relative_to(project.root)): path.read_text() for path in files(project)}
    if texts:
        # The one query that is no file: what may be chosen at the workbook's top.
        texts["checks/workbook.py"] = workbook.choice("Table", "table")["query"]
    judge(set(texts.values()))
    for file, text in texts.items():
        for line, said in JUDGED[text]:
            yield Problem(file, line, said)


def names(project):
    """What is looked for must be what the apps say: a name that nobody writes finds nothing, and no error is raised."""
    listing = project.root / "monitoring" / "names.json"
    if not listing.exists():
        return
    known = json.loads(listing.read_text())
    for path in files(project):
        file, text = str(path.relative_to(project.root)), path.read_text()
        metrics = METRIC.findall(text)
        columns = {column for table in tables_of(text)[1].values() for column in table}
        # What metrics have, and, if requests and the like are read, what those have.
        dimensions = {d for m in metrics for d in known["metrics"].get(m, [])}
        if re.search(r"\b(requests|dependencies|exceptions|traces)\b(?!')", re.sub(r"//.*", "", text)):
            dimensions |= {*known["dimensions"], *known["host_dimensions"]}
        for number, line in enumerate(text.splitlines(), 1):
            line = "" if line.startswith("//") else line
            # Kusto takes the column, and says nothing.
            if (let := re.match(r"let (\w+) =", line)) and let.group(1) in columns:
                yield Problem(file, number, f"'{let.group(1)}' is a column's name, too, which wins inside of the query")
            for metric in METRIC.findall(line):
                if metric not in known["metrics"]:
                    yield Problem(file, number, f"no app has the metric '{metric}'")
            for dimension in DIMENSION.findall(line):
                if dimension not in dimensions:
                    yield Problem(file, number, f"what is read here has no dimension '{dimension}'")
            for first, second, value in VALUE.findall(line):
                values = known["values"].get(first or second)
                if values and value and value not in values:
                    yield Problem(file, number, f"{first or second} is never '{value}', but {', '.join(values)}")
            for name in REQUEST.findall(line):
                if not name.startswith("dvsync.") and name not in [*known["requests"], *known["dependencies"]]:
                    yield Problem(file, number, f"nothing is called '{name}'")


def loaded(project):
    """Every alert's query is used by a template, and what is replaced in one is there to be replaced."""
    used = set()
    for file in project.templates:
        for declaration in file.declarations:
            for node in bicep.walk(declaration.value):
                if not isinstance(node, bicep.Call):
                    continue
                if node.name == "loadTextContent" and node.args and getattr(node.args[0], "value", None):
                    path = (file.path.parent / node.args[0].value).resolve()
                    used.add(path)
                    if not path.exists():
                        yield Problem(file.name, node.line, f"there is no file {node.args[0].value}")
                if node.name == "replace" and isinstance(node.args[0], bicep.Call) and node.args[0].name == "loadTextContent":
                    path = (file.path.parent / node.args[0].args[0].value).resolve()
                    sought = getattr(node.args[1], "value", None)
                    if path.exists() and sought not in path.read_text():
                        yield Problem(file.name, node.line, f"{path.name} has no '{sought}' that could be replaced")
    for path in sorted((project.root / "monitoring" / "alerts").glob("*.kql")):
        if path.resolve() not in used:
            yield Problem(f"monitoring/alerts/{path.name}", 1, "no template uses this query")


def explained(project):
    """Whoever is woken by an alert finds in docs/operations.md what to do."""
    page = tools.ROOT / "docs" / "operations.md"
    headings = set(re.findall(r"^### ([a-z-]+)$", page.read_text(), re.M))
    for file in project.templates:
        for number, line in enumerate(file.source.splitlines(), 1):
            for anchor in re.findall(r"docs/operations\.md#([a-z-]*)", line):
                if anchor not in headings:
                    yield Problem(file.name, number, f"docs/operations.md has no section '{anchor}'")
