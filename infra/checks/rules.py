"""What this project asks of its infrastructure beyond what Azure accepts: identities instead of keys, queues
that lose nothing, settings that the apps will find."""

import json
import re

import bicep
import tools
from project import Problem
from symbols import literal

# Built-in roles that templates may assign. A variable with one of the ids bears the role's name, so that an
# id that is right but not the one that is meant is seen, too.
ROLES = {
    "090c5cfd-751d-490a-894a-3ce6f1109419": "serviceBusDataOwner",
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": "serviceBusDataReceiver",
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": "serviceBusDataSender",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "storageBlobDataOwner",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "storageTableDataContributor",
    "4633458b-17de-408a-b874-0445c86b69e6": "keyVaultSecretsUser",
    "3913510d-42f4-4e42-8a64-420c390055eb": "monitoringMetricsPublisher",
}
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)

MUST_BE = {
    "Microsoft.Storage/storageAccounts": {
        "properties.allowBlobPublicAccess": False,
        "properties.allowSharedKeyAccess": False,
        "properties.supportsHttpsTrafficOnly": True,
        "properties.minimumTlsVersion": "TLS1_2",
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {"properties.publicAccess": "None"},
    "Microsoft.ServiceBus/namespaces": {"properties.disableLocalAuth": True, "properties.minimumTlsVersion": "1.2"},
    "Microsoft.ServiceBus/namespaces/queues": {
        "properties.requiresDuplicateDetection": True,
        "properties.duplicateDetectionHistoryTimeWindow": "PT10M",
        "properties.deadLetteringOnMessageExpiration": True,
        "properties.maxDeliveryCount": 10,
        # A message is dead-lettered by its lock token from another connection, which sessions do not allow.
        "properties.requiresSession": False,
    },
    "Microsoft.ServiceBus/namespaces/topics": {"properties.requiresDuplicateDetection": True},
    "Microsoft.ServiceBus/namespaces/topics/subscriptions": {
        "properties.deadLetteringOnMessageExpiration": True,
        "properties.deadLetteringOnFilterEvaluationExceptions": True,
    },
    "Microsoft.KeyVault/vaults": {
        "properties.enableRbacAuthorization": True,
        "properties.enableSoftDelete": True,
        "properties.enablePurgeProtection": True,
    },
    "Microsoft.Insights/components": {"properties.DisableLocalAuth": True},
    "Microsoft.Web/sites": {"identity.type": "UserAssigned", "properties.httpsOnly": True},
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties.allow": False},
    "Microsoft.Authorization/roleAssignments": {"properties.principalType": "ServicePrincipal"},
}
# These keep a log of who did what; each has a diagnostic setting in the file that makes it.
WATCHED = {"Microsoft.ServiceBus/namespaces", "Microsoft.KeyVault/vaults", "Microsoft.Web/sites"}

SECRET_NAME = re.compile(r"password|secret(?!Name)|connectionString|accessKey|sasToken|apiKey", re.I)
SECRET_SOURCE = re.compile(r"^(list[A-Z]\w*|getSecret|.*ConnectionString|InstrumentationKey|primaryKey|secondaryKey)$")


def valued(file, node):
    """A literal's value, also behind a variable."""
    if isinstance(node, bicep.Name) and (var := file.named("var", node.name)):
        return valued(file, var.value)
    return literal(node)


def at(body, path):
    for step in path.split("."):
        body = body.get(step) if isinstance(body, bicep.Object) else None
    return body


def roles(project):
    """Only the roles of the table, each under its name, and each assignment with a comment that says why."""
    for file in project.templates:
        for var in file.of("var"):
            role = ROLES.get(valued(file, var.value)) if isinstance(valued(file, var.value), str) else None
            if role and role != var.name:
                yield Problem(file.name, var.line, f"'{var.name}' holds the id of {role}")
        for declaration in file.declarations:
            for node in bicep.walk(declaration.value):
                if isinstance(node, bicep.Text) and node.value and GUID.fullmatch(node.value):
                    if node.value not in ROLES:
                        yield Problem(file.name, node.line, f"{node.value} is not the id of an allowed role")
        lines = file.source.splitlines()
        for resource in file.of("resource"):
            if resource.type.startswith("Microsoft.Authorization/roleAssignments"):
                above = lines[resource.line - 2] if resource.line > 1 else ""
                if not above.startswith("//"):
                    yield Problem(file.name, resource.line, f"role assignment '{resource.name}' has no comment that says why")
                definition = at(bicep.body_of(resource), "properties.roleDefinitionId")
                if not (isinstance(definition, bicep.Call) and definition.name == "subscriptionResourceId"):
                    yield Problem(file.name, resource.line, "roleDefinitionId is built with subscriptionResourceId()")


def values_that_must_hold(project):
    """Values that must be exactly so, in every resource of a type."""
    for file in project.templates:
        for resource in file.of("resource"):
            if resource.existing:
                continue
            body = bicep.body_of(resource)
            for path, wanted in MUST_BE.get(resource.type.split("@")[0], {}).items():
                found = valued(file, at(body, path))
                if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
                    shown = json.dumps(wanted)
                    yield Problem(file.name, resource.line, f"{resource.name}: {path} must be {shown}")
            if resource.type.split("@")[0] in WATCHED:
                scopes = [at(bicep.body_of(r), "scope") for r in file.of("resource") if "/diagnosticSettings@" in r.type]
                if not any(isinstance(s, bicep.Name) and s.name == resource.name for s in scopes):
                    yield Problem(file.name, resource.line, f"'{resource.name}' has no diagnostic setting")


def secrets(project):
    """No secret comes in by a parameter or leaves by an output: whoever may read deployments would read it."""
    for file in project.files:
        for param in file.of("param"):
            if SECRET_NAME.search(param.name) or param.decorator("secure"):
                yield Problem(file.name, param.line, f"parameter '{param.name}' looks like a secret")
        for output in file.of("output"):
            for node in bicep.walk(output.value):
                name = getattr(node, "name", "")
                if isinstance(node, (bicep.Call, bicep.Member)) and SECRET_SOURCE.match(name):
                    yield Problem(file.name, node.line, f"output '{output.name}' gives away {name}")


def seconds(duration):
    found = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", duration or "")
    return sum(int(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1))) if found else 0


def clock(text):
    hours, minutes, rest = (int(part) for part in text.split(":"))
    return hours * 3600 + minutes * 60 + rest


def deadlines(project):
    """The work on a message ends before its lock does, before the host stops renewing it, and before the host's time-out."""
    main = next((f for f in project.templates if f.name == "main.bicep"), None)
    deadline = main and main.named("var", "invocationDeadlineSeconds")
    lock = main and main.named("var", "lockDuration")
    if not (deadline and lock):
        yield Problem("main.bicep", 1, "invocationDeadlineSeconds and lockDuration must both be there")
        return
    work = literal(deadline.value)
    host = json.loads((tools.ROOT / "host.json").read_text())
    renewal = clock(host["extensions"]["serviceBus"]["maxAutoLockRenewalDuration"])
    if not work < seconds(literal(lock.value)) <= 300:
        yield Problem("main.bicep", lock.line, "lockDuration must exceed invocationDeadlineSeconds; the bus allows 5 minutes")
    if not work < min(renewal, clock(host["functionTimeout"])):
        yield Problem("main.bicep", deadline.line, "invocationDeadlineSeconds must be shorter than host.json's limits")


SETTING = re.compile(r"%([A-Z_]+)%")


def app_settings(project):
    """Every setting that an app's functions and the example need is set, and none that nobody reads.

    What the apps read is found where it is documented: the README's table.
    """
    readme = (tools.ROOT / "README.md").read_text()
    table = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| `")]
    documented = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    example = json.loads((tools.ROOT / "local.settings.json.example").read_text())["Values"]
    main = next(f for f in project.templates if f.name == "main.bicep")
    for app, only_other in (("inbound", {"TARGET_URL", "KEY_VAULT_URL", "TARGET_SECRET_NAME"}), ("outbound", {"SWEEP_SCHEDULE"})):
        module = main.named("module", app)
        given = at(bicep.body_of(module), "params.settings") if module else None
        if not isinstance(given, bicep.Object):
            yield Problem("main.bicep", 1, f"module '{app}' with its settings must be there")
            continue
        names = {p.key.value for p in given.properties}
        bindings = "".join(p.read_text() for p in (tools.ROOT / f"{app}-fn").glob("*/function.json"))
        # What the example names and the host does not: the app's own.
        own = {name for name in example if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", name) and name != "FUNCTIONS_WORKER_RUNTIME"}
        for missing in sorted((set(SETTING.findall(bindings)) | own - only_other) - names):
            yield Problem("main.bicep", module.line, f"{app}-fn needs the setting {missing}")
        for unknown in sorted(names - documented):
            yield Problem("main.bicep", given.line, f"the README's table has no setting {unknown}")
