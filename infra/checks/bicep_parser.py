"""Reads Bicep into a syntax tree.

pycep, which the checks use to judge syntax, gives no difference between the name x and the text 'x',
and no lines. This parser gives both. It reads what a .bicep or .bicepparam file is made of:
declarations with decorators, expressions, loops, conditions, interpolated strings, lambdas.
"""

import re
from dataclasses import dataclass
from typing import Any

from bicep import (
    Array, Call, Choice, Declaration, For, If, Index, Lambda, Literal, Member, Name, Object, Operation, Property, Text,
)


class BicepError(Exception):
    """The text is not Bicep; the message starts with the line."""


TOKEN = re.compile(
    r"(?P<space>[ \t\r]+|//[^\n]*|/\*.*?\*/)|(?P<newline>\n)|(?P<raw>'''.*?''')|(?P<number>\d+)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<quote>')"
    r"|(?P<mark>=>|==|!=|=~|!~|<=|>=|&&|\|\||\?\?|\.\?|::|[-+*/%<>!?:.,=@(){}\[\]|])",
    re.S,
)
BINARY = [["??"], ["||"], ["&&"], ["==", "!=", "=~", "!~"], ["<", ">", "<=", ">="], ["+", "-"], ["*", "/", "%"]]


@dataclass
class Token:
    kind: str
    text: Any
    line: int
    after_newline: bool


def tokens_of(source, line=1, stop_at_brace=False, start=0):
    """Tokens from start; with stop_at_brace up to the } that closes an interpolation, and its place."""
    tokens, at, newline, depth = [], start, True, 0
    while at < len(source):
        found = TOKEN.match(source, at)
        if not found:
            raise BicepError(f"{line}: unexpected character {source[at]!r}")
        kind, text = found.lastgroup, found.group()
        if kind == "quote":
            parts, end = text_parts(source, at + 1, line)
            tokens.append(Token("text", parts, line, newline))
            line += source.count("\n", at, end)
            at, newline = end, False
            continue
        if stop_at_brace and text == "{":
            depth += 1
        if stop_at_brace and text == "}":
            if depth == 0:
                return tokens, at
            depth -= 1
        at = found.end()
        if kind == "newline":
            newline = True
        elif kind == "raw":
            tokens.append(Token("text", [text[3:-3]], line, newline))
            newline = False
        elif kind != "space":
            tokens.append(Token(kind, text, line, newline))
            newline = False
        line += text.count("\n")
    if stop_at_brace:
        raise BicepError(f"{line}: an interpolation is not closed")
    return tokens


ESCAPES = {"\\": "\\", "'": "'", "n": "\n", "r": "\r", "t": "\t", "$": "$"}


def text_parts(source, at, line):
    """The parts of a string whose opening quote is before at, and the place after its end."""
    parts, plain = [], ""
    while at < len(source):
        char = source[at]
        if char == "'":
            return ([*parts, plain] if plain or not parts else parts), at + 1
        if char == "\n":
            break
        if char == "\\":
            if source[at + 1 : at + 2] not in ESCAPES:
                raise BicepError(f"{line}: unknown escape \\{source[at + 1:at + 2]}")
            plain, at = plain + ESCAPES[source[at + 1]], at + 2
        elif source.startswith("${", at):
            inner, at = tokens_of(source, line, stop_at_brace=True, start=at + 2)
            parser = Parser(inner, line)
            parts += [plain, parser.expression()] if plain else [parser.expression()]
            parser.expect_end()
            plain, at = "", at + 1
        else:
            plain, at = plain + char, at + 1
    raise BicepError(f"{line}: a string is not closed")


class Parser:
    def __init__(self, tokens, line=1):
        self.tokens, self.at, self.last_line = tokens, 0, line

    # === reading tokens ===

    def peek(self, *texts, same_line=False):
        if self.at >= len(self.tokens):
            return None
        token = self.tokens[self.at]
        if texts and (token.kind == "text" or token.text not in texts):
            return None
        if same_line and token.after_newline:
            return None
        return token

    def take(self, *texts, same_line=False):
        token = self.peek(*texts, same_line=same_line)
        if token:
            self.at += 1
            self.last_line = token.line
        return token

    def expect(self, *texts):
        token = self.take(*texts)
        if not token:
            self.fail(f"expected {' or '.join(texts) or 'something'}")
        return token

    def fail(self, problem):
        token = self.peek()
        where = f"{token.line}: {problem}, found {token.text!r}" if token else f"{self.last_line}: {problem}, found the end"
        raise BicepError(where)

    def expect_end(self):
        if self.peek():
            self.fail("expected the end")

    def name(self):
        token = self.expect()
        if token.kind != "name":
            self.at -= 1
            self.fail("expected a name")
        return token.text

    def text(self):
        token = self.expect()
        if token.kind != "text":
            self.at -= 1
            self.fail("expected a string")
        return Text(token.text, token.line)

    # === declarations ===

    def file(self):
        declarations = []
        while self.peek():
            declarations.append(self.declaration())
        return declarations

    def declaration(self):
        decorators = []
        while self.take("@"):
            decorator = self.postfix()
            if not isinstance(decorator, Call):
                self.fail("expected a decorator's call")
            decorators.append(decorator)
        start = self.expect()
        reader = {
            "param": self.param, "var": self.var, "resource": self.resource,
            "module": self.module, "output": self.output, "metadata": self.var,
            "using": self.using, "targetScope": self.target_scope,
        }.get(start.text if start.kind == "name" else None)
        if not reader:
            self.at -= 1
            self.fail("expected a declaration")
        declaration = reader(start.text, start.line)
        declaration.decorators = decorators
        if self.peek() and not self.peek().after_newline:
            self.fail("expected a new line")
        return declaration

    def type_name(self):
        name = self.name()
        while self.take("[", same_line=True):
            self.expect("]")
            name += "[]"
        return name + ("?" if self.take("?", same_line=True) else "")

    def param(self, kind, line):
        result = Declaration(kind, self.name(), line)
        if not self.peek("="):
            result.type = self.type_name()
        if self.take("="):
            result.value = self.expression()
        return result

    def var(self, kind, line):
        name = self.name()
        self.expect("=")
        return Declaration(kind, name, line, value=self.expression())

    def output(self, kind, line):
        name, type_name = self.name(), self.type_name()
        self.expect("=")
        return Declaration(kind, name, line, type=type_name, value=self.expression())

    def resource(self, kind, line):
        name, type_name = self.name(), self.text().value
        existing = bool(self.take("existing"))
        self.expect("=")
        return Declaration(kind, name, line, type=type_name, existing=existing, value=self.body())

    def module(self, kind, line):
        name, path = self.name(), self.text().value
        self.expect("=")
        return Declaration(kind, name, line, type=path, value=self.body())

    def using(self, kind, line):
        return Declaration(kind, "", line, type=self.text().value)

    def target_scope(self, kind, line):
        self.expect("=")
        return Declaration(kind, "", line, value=self.text())

    def body(self):
        """What a resource or module is: an object, perhaps under a condition or in a loop."""
        token = self.take("if")
        if token:
            self.expect("(")
            condition = self.expression()
            self.expect(")")
            return If(condition, self.body(), token.line)
        return self.primary()

    # === expressions, loosest first ===

    def expression(self):
        start = self.at
        left = self.binary(0)
        if self.take("=>"):
            names = [left] if isinstance(left, Name) else getattr(left, "items", None)
            if names is None or not all(isinstance(n, Name) for n in names):
                self.at = start
                self.fail("expected a lambda's names")
            return Lambda([n.name for n in names], self.expression(), left.line)
        if self.take("?"):
            yes = self.expression()
            self.expect(":")
            return Choice(left, yes, self.expression(), left.line)
        return left

    def binary(self, level):
        if level == len(BINARY):
            return self.unary()
        left = self.binary(level + 1)
        # A minus on a new line starts a new item of an array.
        while operator := self.take(*BINARY[level], same_line="-" in BINARY[level]):
            left = Operation(operator.text, [left, self.binary(level + 1)], left.line)
        return left

    def unary(self):
        operator = self.take("!", "-")
        if operator:
            return Operation(operator.text, [self.unary()], operator.line)
        return self.postfix()

    def postfix(self):
        value = self.primary()
        while token := self.take(".", ".?", "[", "(", "!", same_line=True):
            if token.text == "[":
                self.take("?")
                value = Index(value, self.expression(), token.line)
                self.expect("]")
            elif token.text == "(":
                args = self.arguments()
                if isinstance(value, Name):
                    value = Call(None, value.name, args, value.line)
                elif isinstance(value, Member):
                    value = Call(value.base, value.name, args, value.line)
                else:
                    self.fail("this cannot be called")
            elif token.text != "!":
                value = Member(value, self.name(), token.line)
        return value

    def arguments(self):
        args = []
        while not self.take(")"):
            args.append(self.expression())
            if not self.take(","):
                self.expect(")")
                break
        return args

    def primary(self):
        token = self.expect()
        if token.kind == "text":
            return Text(token.text, token.line)
        if token.kind == "number":
            return Literal(int(token.text), token.line)
        if token.text == "{":
            return self.object(token.line)
        if token.text == "[":
            return self.loop(token.line) if self.take("for") else self.array(token.line)
        if token.text == "(":
            items = self.arguments()
            return items[0] if len(items) == 1 and not self.peek("=>") else Array(items, token.line)
        if token.kind == "name":
            values = {"true": True, "false": False, "null": None}
            if token.text in values:
                return Literal(values[token.text], token.line)
            return Name(token.text, token.line)
        self.at -= 1
        return self.fail("expected a value")

    def object(self, line):
        properties = []
        while not self.take("}"):
            token = self.expect()
            if token.kind not in ("name", "text"):
                self.at -= 1
                self.fail("expected a property's name")
            key = Text(token.text if token.kind == "text" else [token.text], token.line)
            self.expect(":")
            properties.append(Property(key, self.expression(), token.line))
            self.separator("}")
        return Object(properties, line)

    def array(self, line):
        items = []
        while not self.take("]"):
            items.append(self.expression())
            self.separator("]")
        return Array(items, line)

    def separator(self, end):
        if self.take(",") or self.peek(end):
            return
        if self.peek() and not self.peek().after_newline:
            self.fail(f"expected a new line, a comma or {end}")

    def loop(self, line):
        if self.take("("):
            names = [self.name()]
            self.expect(",")
            names.append(self.name())
            self.expect(")")
        else:
            names = [self.name()]
        self.expect("in")
        collection = self.expression()
        self.expect(":")
        body = self.body() if self.peek("if", "{") else self.expression()
        self.expect("]")
        return For(names, collection, body, line)


def parse(source):
    """The declarations of a file. Raises BicepError."""
    return Parser(tokens_of(source)).file()
