"""Microsoft's own types of Azure resources, as azmcp knows them."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import tools

MORE = json.loads((Path(__file__).parent / "more-types.json").read_text())


@dataclass
class ObjectType:
    """properties: name to (type, flags). extra: whether other properties may be there."""

    properties: dict
    extra: bool = False
    discriminator: str = ""
    variants: dict = field(default_factory=dict)


@dataclass
class ResourceType:
    version: str
    body: ObjectType
    objects: dict


def properties_of(items):
    return {p["name"]: (p["type"], p.get("flags") or "") for p in items}


def object_type(node):
    if node["$type"] != "DiscriminatedObject":
        return ObjectType(properties_of(node.get("properties", [])), bool(node.get("additionalPropertiesType")))
    key = node["discriminator"]
    variants = {}
    for element in node["elements"]:
        variant = object_type(element)
        variants[variant.properties[key][0]] = variant
    return ObjectType(properties_of(node["baseProperties"]), discriminator=key, variants=variants)


def from_azmcp(answer):
    items = json.loads(answer)["results"]["BicepSchemaResult"]
    resource = next(i for i in items if i["$type"] == "Resource")
    objects = {i["name"]: object_type(i) for i in items if i["$type"] in ("Object", "DiscriminatedObject")}
    return ResourceType(resource["name"].split("@")[1], object_type(resource["bodyType"]), objects)


def from_more(version, objects):
    flags = {"!": "Required", "-": "ReadOnly"}
    read = {}
    for name, properties in objects.items():
        typed = {n: (t.rstrip("!-"), flags.get(t[-1], "")) for n, t in properties.items() if n != "*"}
        read[name] = ObjectType(typed, extra="*" in properties)
    return ResourceType(version, read.pop("Resource"), read)


class Types:
    """Answers are kept on disk by the tool's version, so that only a new type costs a call."""

    def __init__(self):
        self.binary = tools.azmcp()
        self.cache = tools.WORK / "types" / tools.AZMCP.split("@")[-1]
        self.cache.mkdir(parents=True, exist_ok=True)
        self.known = {}
        for name, objects in MORE.items():
            if "@" in name:
                resource, version = name.split("@")
                self.known[resource.lower()] = from_more(version, objects)

    def load(self, names):
        with ThreadPoolExecutor(2) as pool:
            for name, found in pool.map(lambda n: (n, self.fetch(n)), sorted(names)):
                self.known[name.lower()] = found

    def fetch(self, name):
        if name.lower() in self.known:
            return self.known[name.lower()]
        path = self.cache / (name.replace("/", "_").lower() + ".json")
        if not path.exists():
            command = [str(self.binary), "bicepschema", "get", "--resource-type", name]
            done = subprocess.run(command, capture_output=True, text=True, env=tools.environment(), timeout=300)
            try:
                from_azmcp(done.stdout)
            except (ValueError, KeyError, StopIteration):
                # No such type, as far as azmcp knows. The caller reports it with its place.
                return None
            path.write_text(done.stdout)
        return from_azmcp(path.read_text())

    def get(self, name):
        if name.lower() not in self.known:
            self.load([name])
        return self.known[name.lower()]
