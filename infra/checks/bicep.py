"""What a Bicep file consists of, as a syntax tree."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Text:
    """A string. parts: literal pieces and expressions, in turn."""

    parts: list
    line: int

    @property
    def value(self):
        """The text, or None if something is interpolated."""
        return "".join(self.parts) if all(isinstance(p, str) for p in self.parts) else None


@dataclass
class Literal:
    """A number, true, false or null."""

    value: Any
    line: int


@dataclass
class Name:
    name: str
    line: int


@dataclass
class Member:
    base: Any
    name: str
    line: int


@dataclass
class Index:
    base: Any
    index: Any
    line: int


@dataclass
class Call:
    """base is None for a plain function, else what the method belongs to."""

    base: Any
    name: str
    args: list
    line: int


@dataclass
class Property:
    key: Text
    value: Any
    line: int


@dataclass
class Object:
    properties: list
    line: int

    def get(self, key):
        return next((p.value for p in self.properties if p.key.value == key), None)


@dataclass
class Array:
    items: list
    line: int


@dataclass
class For:
    names: list
    collection: Any
    body: Any
    line: int


@dataclass
class If:
    condition: Any
    body: Any
    line: int


@dataclass
class Choice:
    condition: Any
    yes: Any
    no: Any
    line: int


@dataclass
class Operation:
    operator: str
    operands: list
    line: int


@dataclass
class Lambda:
    names: list
    body: Any
    line: int


@dataclass
class Declaration:
    """kind: param, var, resource, module, output, using, targetScope or metadata."""

    kind: str
    name: str
    line: int
    type: str = ""
    existing: bool = False
    value: Any = None
    decorators: list = field(default_factory=list)

    def decorator(self, name):
        return next((d for d in self.decorators if d.name == name), None)


def children(node):
    """The nodes directly in a node."""
    if isinstance(node, Text):
        return [p for p in node.parts if not isinstance(p, str)]
    if isinstance(node, Member):
        return [node.base]
    if isinstance(node, Index):
        return [node.base, node.index]
    if isinstance(node, Call):
        return ([node.base] if node.base else []) + node.args
    if isinstance(node, Object):
        return [child for p in node.properties for child in (p.key, p.value)]
    if isinstance(node, Array):
        return node.items
    if isinstance(node, For):
        return [node.collection, node.body]
    if isinstance(node, If):
        return [node.condition, node.body]
    if isinstance(node, Choice):
        return [node.condition, node.yes, node.no]
    if isinstance(node, Operation):
        return node.operands
    if isinstance(node, Lambda):
        return [node.body]
    return []


def walk(node):
    """A node and everything in it."""
    if node is not None:
        yield node
        for child in children(node):
            yield from walk(child)


def body_of(declaration):
    """The object of a resource or module, without its loop or condition; None if it is none."""
    node = declaration.value
    while isinstance(node, (For, If)):
        node = node.body
    return node if isinstance(node, Object) else None
