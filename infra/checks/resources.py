"""Every resource against its type: misspelt, missing and read-only properties, values of a wrong kind.

An expression may be of any type and is left alone, except where its value is plain to see: a variable, a
parameter's allowed values, both sides of a condition, the arguments of union() and concat().
"""

import difflib

import bicep
from project import Problem
from symbols import literal

# What Bicep adds to every resource.
OF_BICEP = {"parent", "scope", "dependsOn"}
PRIMITIVES = {"string", "int", "bool", "any", "null", "object", "array"}


class Checker:
    def __init__(self, file, objects):
        self.file, self.objects = file, objects

    def problem(self, node, text):
        return Problem(self.file.name, node.line, text)

    def meanings(self, node):
        """What an expression may stand for, where that can be seen."""
        if isinstance(node, bicep.Choice):
            return self.meanings(node.yes) + self.meanings(node.no)
        if isinstance(node, bicep.Name):
            if var := self.file.named("var", node.name):
                return self.meanings(var.value)
            param = self.file.named("param", node.name)
            if param and (allowed := param.decorator("allowed")):
                return allowed.args[0].items
            return []
        if isinstance(node, (bicep.Call, bicep.Member, bicep.Index, bicep.Operation, bicep.Lambda)):
            return []
        return [node]

    def value(self, node, type_name, path):
        if isinstance(node, bicep.Call) and node.base is None and node.name in ("union", "concat"):
            for argument in node.args:
                yield from self.meaning_list(argument, type_name, path, partial=node.name == "union")
            return
        yield from self.meaning_list(node, type_name, path)

    def meaning_list(self, node, type_name, path, partial=False):
        for meaning in self.meanings(node):
            yield from self.plain(meaning, type_name, path, partial)

    def plain(self, node, type_name, path, partial):
        if isinstance(node, bicep.Literal) and node.value is None or type_name == "any":
            return
        if type_name.endswith("[]") and " | " not in type_name:
            if isinstance(node, bicep.For):
                yield from self.value(node.body, type_name[:-2], f"{path}[]")
            elif isinstance(node, bicep.Array):
                for item in node.items:
                    yield from self.value(item, type_name[:-2], f"{path}[]")
            else:
                yield self.problem(node, f"{path} is a list")
            return
        if type_name in self.objects:
            if isinstance(node, bicep.Object):
                yield from self.object(node, self.objects[type_name], path, partial)
            elif not isinstance(node, bicep.For):
                yield self.problem(node, f"{path} is an object of type {type_name}")
            return
        yield from self.scalar(node, type_name, path)

    def scalar(self, node, type_name, path):
        choices = type_name.split(" | ")
        value = node.value if isinstance(node, (bicep.Text, bicep.Literal)) else node
        if isinstance(node, (bicep.Object, bicep.Array, bicep.For)):
            if not {"object", "array"} & set(choices):
                yield self.problem(node, f"{path} is of type {type_name}, not an object or list")
        elif isinstance(value, bool) or isinstance(value, int):
            kind = "bool" if isinstance(value, bool) else "int"
            if kind not in choices and str(value) not in choices:
                yield self.problem(node, f"{path} is of type {type_name}, not {value}")
        elif set(choices) <= {"int", "bool"}:
            yield self.problem(node, f"{path} is of type {type_name}, not a text")
        elif isinstance(value, str):
            # "A | B | string" is open to values that come later. The ones used here exist today.
            known = [c for c in choices if c not in PRIMITIVES]
            if known and value not in known:
                yield self.problem(node, f"{path} is {value!r}, known are {', '.join(known)}")

    def object(self, node, of, path, partial=False, extra=frozenset()):
        properties = dict(of.properties)
        if of.discriminator:
            chosen = literal(node.get(of.discriminator)) if node.get(of.discriminator) else None
            if chosen not in of.variants:
                known = ", ".join(sorted(of.variants))
                yield self.problem(node, f"{path}.{of.discriminator} is {chosen!r}, known are {known}")
                return
            properties |= of.variants[chosen].properties
        for item in node.properties:
            key = item.key.value
            if key is None or key in extra:
                continue
            if key not in properties:
                if not of.extra:
                    near = difflib.get_close_matches(key, properties, 1)
                    hint = f", but '{near[0]}'" if near else ""
                    yield self.problem(item, f"{path} has no property '{key}'{hint}")
                continue
            type_name, flags = properties[key]
            if "ReadOnly" in flags:
                yield self.problem(item, f"{path}.{key} can only be read")
                continue
            yield from self.value(item.value, type_name, f"{path}.{key}")
        if partial:
            return
        for key, (_, flags) in properties.items():
            if "Required" in flags and "ReadOnly" not in flags and node.get(key) is None:
                yield self.problem(node, f"{path} needs '{key}'")


def resources(project, types):
    types.load({d.type.split("@")[0] for f in project.templates for d in f.of("resource")})
    for file in project.templates:
        for resource in file.of("resource"):
            name, _, version = resource.type.partition("@")
            known = types.get(name)
            if not known:
                yield Problem(file.name, resource.line, f"there is no resource type {name}")
                continue
            if version != known.version:
                text = f"{name}@{version} is not the version whose types are known, @{known.version}"
                yield Problem(file.name, resource.line, text)
                continue
            body = bicep.body_of(resource)
            if body is None:
                yield Problem(file.name, resource.line, f"resource '{resource.name}' is not an object")
                continue
            if resource.existing:
                for item in body.properties:
                    if item.key.value not in OF_BICEP | {"name"}:
                        yield Problem(file.name, item.line, "an existing resource has a name, parent and scope only")
                continue
            checker = Checker(file, known.objects)
            yield from checker.object(body, known.body, resource.name, extra=OF_BICEP)
            if "tags" in known.body.properties and body.get("tags") is None:
                yield Problem(file.name, resource.line, f"resource '{resource.name}' has no tags")
