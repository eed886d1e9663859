"""Names: every one that is used is declared, every one that is declared is used, across modules too."""

import bicep
from project import Problem

# Bicep's functions that these files may use. A new one is added here when it is needed for the first time.
FUNCTIONS = {
    "array", "bool", "concat", "contains", "empty", "environment", "first", "format", "guid",
    "int", "items", "join", "last", "length", "loadTextContent", "map", "max", "min", "range", "replace", "resourceGroup",
    "resourceId", "string", "subscription", "subscriptionResourceId", "take", "tenant", "toLower", "toObject",
    "union", "uniqueString",
}
DECORATORS = {"allowed", "description", "maxLength", "maxValue", "metadata", "minLength", "minValue", "secure"}
TYPES = {"string": str, "int": int, "bool": bool, "object": bicep.Object, "array": bicep.Array}


def used_names(node, local=frozenset()):
    """The names that an expression uses and does not bind itself, each with its line."""
    if isinstance(node, bicep.Name):
        if node.name not in local:
            yield node.name, node.line
        return
    if isinstance(node, bicep.For):
        yield from used_names(node.collection, local)
        yield from used_names(node.body, local | set(node.names))
        return
    if isinstance(node, bicep.Lambda):
        yield from used_names(node.body, local | set(node.names))
        return
    for child in bicep.children(node):
        yield from used_names(child, local)


def nodes(file):
    for declaration in file.declarations:
        for decorator in declaration.decorators:
            yield from bicep.walk(decorator)
        yield from bicep.walk(declaration.value)


def names(project):
    """Undefined names, unknown functions and decorators, and what is declared and never used."""
    for file in project.templates:
        declared = {d.name for d in file.declarations if d.kind in ("param", "var", "resource", "module")}
        used = set()
        for declaration in file.declarations:
            for decorator in declaration.decorators:
                if decorator.name not in DECORATORS:
                    yield Problem(file.name, decorator.line, f"unknown decorator @{decorator.name}")
            for name, line in used_names(declaration.value):
                used.add(name)
                if name not in declared:
                    yield Problem(file.name, line, f"'{name}' is not defined")
        for node in nodes(file):
            if isinstance(node, bicep.Call) and node.base is None and node.name not in FUNCTIONS | DECORATORS:
                yield Problem(file.name, node.line, f"unknown function {node.name}()")
        seen = set()
        for declaration in file.declarations:
            if declaration.kind in ("param", "var", "resource", "module"):
                if declaration.name in seen:
                    yield Problem(file.name, declaration.line, f"'{declaration.name}' is declared twice")
                seen.add(declaration.name)
            unused = declaration.kind in ("param", "var") or declaration.existing
            if unused and declaration.name not in used:
                yield Problem(file.name, declaration.line, f"{declaration.kind} '{declaration.name}' is never used")


def required(param):
    return param.value is None and not param.type.endswith("?")


def literal(node):
    """A literal's value, or its node for objects and arrays; None for anything computed."""
    if isinstance(node, bicep.Text):
        return node.value
    if isinstance(node, bicep.Literal):
        return node.value
    if isinstance(node, bicep.Operation) and node.operator == "-" and len(node.operands) == 1:
        value = literal(node.operands[0])
        return -value if isinstance(value, int) else None
    return node if isinstance(node, (bicep.Object, bicep.Array)) else None


def value_problem(param, node):
    """What is wrong with a value for a parameter, as far as it can be seen here."""
    value = literal(node)
    if value is None:
        return None
    wanted = TYPES.get(param.type.rstrip("?"))
    if wanted and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        return f"'{param.name}' is of type {param.type}"
    if allowed := param.decorator("allowed"):
        choices = [literal(item) for item in allowed.args[0].items]
        if value not in choices:
            return f"'{param.name}' may be {', '.join(map(str, choices))}, not {value}"
    size = len(value.items) if isinstance(value, bicep.Array) else value if isinstance(value, int) else None
    size = len(value) if isinstance(value, str) else size
    for name, wrong in (("min", lambda n: size < n), ("max", lambda n: size > n)):
        for suffix in ("Length", "Value"):
            limit = param.decorator(name + suffix)
            if limit and size is not None and wrong(literal(limit.args[0])):
                return f"'{param.name}' is outside of @{name}{suffix}({literal(limit.args[0])})"
    return None


KINDS = {"guid": "string", "uniqueString": "string", "string": "string", "toLower": "string", "replace": "string", "loadTextContent": "string",
         "format": "string", "take": "", "length": "int", "empty": "bool", "contains": "bool", "concat": "array"}


def kind_of(file, node, targets):
    """The type that an expression has, or "" where that cannot be seen. targets: the modules' files by name."""
    if isinstance(node, bicep.Text):
        return "string"
    if isinstance(node, bicep.Literal):
        return {bool: "bool", int: "int"}.get(type(node.value), "")
    if isinstance(node, (bicep.Array, bicep.For)):
        return "array"
    if isinstance(node, bicep.Object):
        return "object"
    if isinstance(node, bicep.Choice):
        kinds = {kind_of(file, node.yes, targets), kind_of(file, node.no, targets)}
        return kinds.pop() if len(kinds) == 1 else ""
    if isinstance(node, bicep.Operation):
        return "int" if node.operator in "+-*/%" else "" if node.operator == "??" else "bool"
    if isinstance(node, bicep.Call) and node.base is None:
        return KINDS.get(node.name, "")
    if isinstance(node, bicep.Name):
        declared = file.named("param", node.name)
        var = file.named("var", node.name)
        return declared.type.rstrip("?") if declared else kind_of(file, var.value, targets) if var else ""
    if found := output_of(node, targets):
        output = targets[found[0]].named("output", found[1])
        return output.type if output else ""
    return ""


def values_against(file, target, given, line, targets=None):
    """Values for a template's parameters: unknown ones, missing ones, wrong ones."""
    params = {d.name: d for d in target.of("param")}
    for name, (node, at) in given.items():
        if name not in params:
            yield Problem(file.name, at, f"{target.name} has no parameter '{name}'")
        elif problem := value_problem(params[name], node):
            yield Problem(file.name, at, problem)
        elif (kind := kind_of(file, node, targets or {})) and kind != params[name].type.rstrip("?"):
            yield Problem(file.name, at, f"'{name}' is of type {params[name].type}, not {kind}")
    for name, param in params.items():
        if required(param) and name not in given:
            yield Problem(file.name, line, f"{target.name} needs a value for '{name}'")


def output_of(node, modules):
    """(module, output) if a node is MODULE.outputs.OUTPUT, in a loop or not."""
    if not (isinstance(node, bicep.Member) and isinstance(node.base, bicep.Member) and node.base.name == "outputs"):
        return None
    base = node.base.base
    while isinstance(base, bicep.Index):
        base = base.base
    return (base.name, node.name) if isinstance(base, bicep.Name) and base.name in modules else None


def modules(project):
    """Modules: the file exists, its parameters are given, its outputs exist and somebody reads them."""
    read = set()
    called = set()
    for file in project.templates:
        targets = {m.name: t for m in file.of("module") if (t := project.resolve(file, m.type))}
        for module in file.of("module"):
            target = targets.get(module.name)
            if not target:
                yield Problem(file.name, module.line, f"there is no file {module.type}")
                continue
            called.add(target.name)
            body = bicep.body_of(module)
            params = body.get("params") if body else None
            given = {p.key.value: (p.value, p.line) for p in params.properties} if params else {}
            yield from values_against(file, target, given, module.line, targets)
        for node in nodes(file):
            if found := output_of(node, targets):
                target = targets[found[0]]
                read.add((target.name, found[1]))
                if not target.named("output", found[1]):
                    yield Problem(file.name, node.line, f"{target.name} has no output '{found[1]}'")
        for param in file.of("param"):
            if param.value and (problem := value_problem(param, param.value)):
                yield Problem(file.name, param.line, f"default: {problem}")
    for file in project.templates:
        if file.path.parent == project.root:
            continue
        if file.name not in called:
            yield Problem(file.name, 1, "no template uses this module")
        for output in file.of("output"):
            if (file.name, output.name) not in read:
                yield Problem(file.name, output.line, f"output '{output.name}' is never read")


def parameter_files(project):
    """Parameter files: each for an existing template, with every value that it needs."""
    for file in project.parameter_files:
        using = file.of("using")
        target = project.resolve(file, using[0].type) if using else None
        if not target:
            yield Problem(file.name, 1, "the file that it is 'using' does not exist")
            continue
        given = {d.name: (d.value, d.line) for d in file.of("param")}
        yield from values_against(file, target, given, using[0].line)


# What is known of a resource before it is there.
KNOWN_EARLY = {"id", "name", "type", "apiVersion"}


def late(file, node, seen=frozenset()):
    """The places in an expression, variables included, whose value is there only when something was deployed."""
    for inner in bicep.walk(node):
        if isinstance(inner, bicep.Member):
            base = inner.base
            while isinstance(base, bicep.Index):
                base = base.base
            if isinstance(base, bicep.Name):
                if file.named("module", base.name) and inner.name == "outputs":
                    yield inner
                if file.named("resource", base.name) and inner.name not in KNOWN_EARLY:
                    yield inner
        if isinstance(inner, bicep.Name) and inner.name not in seen and (var := file.named("var", inner.name)):
            yield from late(file, var.value, seen | {inner.name})


def start(project):
    """Names, conditions and the length of loops must be known when a deployment starts."""
    for file in project.templates:
        for declaration in file.of("resource") + file.of("module"):
            body = bicep.body_of(declaration)
            early = [("name", body.get("name"))] if body else []
            node = declaration.value
            while isinstance(node, (bicep.For, bicep.If)):
                early.append(("loop", node.collection) if isinstance(node, bicep.For) else ("condition", node.condition))
                node = node.body
            for what, part in early:
                for place in late(file, part):
                    text = f"the {what} of '{declaration.name}' takes a value that is known only after a deployment"
                    yield Problem(file.name, place.line, text)


def cycles(project):
    """Nothing may wait for itself."""
    for file in project.templates:
        named = {d.name: d for d in file.declarations if d.kind in ("var", "resource", "module")}
        waits = {n: {u for u, _ in used_names(d.value) if u in named} for n, d in named.items()}
        done = set()
        while ready := [n for n in waits if n not in done and waits[n] <= done]:
            done.update(ready)
        if stuck := [n for n in waits if n not in done]:
            yield Problem(file.name, named[stuck[0]].line, f"these wait for each other: {', '.join(stuck)}")
