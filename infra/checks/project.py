"""The Bicep files of a folder, read once, and the problems that checks find in them."""

import re
from dataclasses import dataclass
from pathlib import Path

import bicep_parser
from pycep import BicepParser

SYNTAX = BicepParser()
# pycep takes half a second a file, and the tests read the same text many times.
JUDGED = {}


@dataclass(frozen=True)
class Problem:
    file: str
    line: int
    text: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.text}"


class File:
    def __init__(self, path, root):
        self.path = path
        self.name = str(path.relative_to(root))
        self.source = path.read_text()
        self.is_parameters = path.suffix == ".bicepparam"
        self.declarations, self.problem = [], None
        try:
            self.declarations = bicep_parser.parse(self.source)
        except bicep_parser.BicepError as error:
            line, text = str(error).split(": ", 1)
            self.problem = Problem(self.name, int(line), text)

    def of(self, kind):
        return [d for d in self.declarations if d.kind == kind]

    def named(self, kind, name):
        return next((d for d in self.of(kind) if d.name == name), None)


class Project:
    def __init__(self, root):
        self.root = Path(root)
        paths = [*sorted(self.root.glob("*.bicep*")), *sorted(self.root.glob("modules/**/*.bicep"))]
        self.files = [File(path, self.root) for path in paths]

    @property
    def templates(self):
        return [f for f in self.files if not f.is_parameters]

    @property
    def parameter_files(self):
        return [f for f in self.files if f.is_parameters]

    def resolve(self, file, path):
        """The file that another one names by a relative path, or None."""
        wanted = (file.path.parent / path).resolve()
        return next((f for f in self.files if f.path.resolve() == wanted), None)


def judged_by_pycep(source):
    if source not in JUDGED:
        try:
            SYNTAX.parse(text=source)
            JUDGED[source] = None
        except Exception as error:  # lark and pycep have many classes for "this is not Bicep"
            place = re.search(r"line (\d+)", str(error))
            JUDGED[source] = (int(place.group(1)) if place else 1, str(error).strip().splitlines()[0])
    return JUDGED[source]


def syntax(project):
    """Two parsers must agree that this is Bicep: our own, and pycep."""
    for file in project.files:
        if file.problem:
            yield file.problem
            continue
        source = file.source
        if file.is_parameters:
            # pycep knows templates only. These two statements are what is different.
            source = re.sub(r"^using .*$", "", source, flags=re.M)
            source = re.sub(r"^param ", "var ", source, flags=re.M)
        if found := judged_by_pycep(source):
            yield Problem(file.name, found[0], f"pycep: {found[1]}")
