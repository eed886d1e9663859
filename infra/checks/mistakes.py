"""Mistakes that people make, each planted into a copy of the templates. Every one must be found.

A mistake is a change of text in one file, and a part of the sentence that must be said about it there.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mistake:
    what: str
    file: str
    old: str
    new: str
    said: str


MISTAKES = [
    Mistake("a property is misspelt", "modules/service-bus.bicep",
            "requiresDuplicateDetection: true\n    duplicateDetectionHistoryTimeWindow: duplicateWindow\n    defaultMessageTimeToLive: timeToLive\n    deadLetteringOnMessageExpiration: true\n    maxSizeInMegabytes: 5120\n    enableBatchedOperations: true\n    requiresSession: false\n  }\n}\n",
            "requiresDuplicateDetection: true\n    duplicateDetectionHistoryTimeWindow: duplicateWindow\n    defaultMessageTimeToLive: timeToLive\n    deadLetteringOnMessageExpiration: true\n    maxSizeInMegabyte: 5120\n    enableBatchedOperations: true\n    requiresSession: false\n  }\n}\n",
            "has no property 'maxSizeInMegabyte', but 'maxSizeInMegabytes'"),
    Mistake("a property deep inside is misspelt", "modules/function-app.bicep",
            "userAssignedIdentityResourceId:", "userAssignedIdentityId:", "has no property 'userAssignedIdentityId'"),
    Mistake("a property in a list in a loop is misspelt", "modules/alerts.bicep",
            "timeAggregation: rule.aggregation", "aggregation: rule.aggregation", "has no property 'aggregation'"),
    Mistake("a required property is missing", "modules/storage.bicep",
            "  kind: 'StorageV2'\n", "", "account needs 'kind'"),
    Mistake("a required property deep inside is missing", "modules/key-vault.bicep",
            "    tenantId: tenant().tenantId\n", "", "needs 'tenantId'"),
    Mistake("a property that can only be read is set", "modules/identity.bicep",
            "  tags: tags\n}", "  tags: tags\n  properties: {\n    clientId: 'x'\n  }\n}", "properties can only be read"),
    Mistake("a text where a number belongs", "modules/storage.bicep",
            "      days: 7\n    }\n    container", "      days: 'seven'\n    }\n    container", "days is of type int, not a text"),
    Mistake("a tier that does not exist", "modules/service-bus.bicep",
            "@allowed([\n  'Standard'\n  'Premium'\n])", "@allowed([\n  'Standart'\n  'Premium'\n])", "is 'Standart', known are"),
    Mistake("a tier that the template does not allow", "main.prod.bicepparam",
            "serviceBusSku = 'Premium'", "serviceBusSku = 'Basic'", "may be Standard, Premium, not Basic"),
    Mistake("an API version that does not exist", "modules/key-vault.bicep",
            "Microsoft.KeyVault/vaults@2024-11-01", "Microsoft.KeyVault/vaults@2024-13-01", "is not the version whose types are known"),
    Mistake("a resource type that does not exist", "modules/key-vault.bicep",
            "Microsoft.KeyVault/vaults@2024-11-01", "Microsoft.KeyVaults/vault@2024-11-01", "there is no resource type Microsoft.KeyVaults/vault"),
    Mistake("a name that is not defined", "modules/service-bus.bicep",
            "scope: namespace\n", "scope: nameSpace\n", "'nameSpace' is not defined"),
    Mistake("a name in an interpolation that is not defined", "main.bicep",
            "'${prefix}-${environmentName}-${suffix}'", "'${prefix}-${environment}-${suffix}'", "'environment' is not defined"),
    Mistake("a parameter that is never used", "modules/identity.bicep",
            "param name string\n", "param name string\nparam owner string = ''\n", "param 'owner' is never used"),
    Mistake("a function that does not exist", "main.bicep",
            "uniqueString(resourceGroup().id, prefix, environmentName)\n", "uniqueText(resourceGroup().id, prefix, environmentName)\n", "unknown function uniqueText()"),
    Mistake("a module's parameter is missing", "main.bicep",
            "    backlogThreshold: backlogThreshold\n", "", "needs a value for 'backlogThreshold'"),
    Mistake("a module is given a parameter that it does not have", "main.bicep",
            "    emails: alertEmails\n", "    emails: alertEmails\n    phones: []\n", "has no parameter 'phones'"),
    Mistake("a module's output that does not exist", "main.bicep",
            "monitoring.outputs.insightsId", "monitoring.outputs.componentId", "has no output 'componentId'"),
    Mistake("a module's file that does not exist", "main.bicep",
            "'modules/alerts.bicep'", "'modules/alert.bicep'", "there is no file modules/alert.bicep"),
    Mistake("a module is given a list for a text", "main.bicep",
            "    vaultName: keyVault.outputs.name\n", "    vaultName: serviceBus.outputs.outboundQueues\n", "'vaultName' is of type string, not array"),
    Mistake("a resource's name depends on another's deployment", "modules/storage.bicep",
            "  name: 'to-log-analytics'\n", "  name: 'log-${account.properties.primaryLocation}'\n", "known only after a deployment"),
    Mistake("two modules wait for each other", "main.bicep",
            "    retentionDays: logRetentionDays\n", "    retentionDays: length(serviceBus.outputs.outboundQueues)\n", "these wait for each other"),
    Mistake("a parameter file lacks a value", "main.test.bicepparam",
            "param dataverseUrl = 'https://contoso-test.crm4.dynamics.com'\n", "", "needs a value for 'dataverseUrl'"),
    Mistake("a role id that is not allowed (Contributor)", "modules/access-secrets.bicep",
            "4633458b-17de-408a-b874-0445c86b69e6", "b24988ac-6180-42a0-ab88-20f7382dd24c", "is not the id of an allowed role"),
    Mistake("the id of another role", "modules/access-send.bicep",
            "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39", "090c5cfd-751d-490a-894a-3ce6f1109419", "holds the id of serviceBusDataOwner"),
    Mistake("a role assignment without a reason", "modules/access-secrets.bicep",
            "// The target's key, by name. The vault holds nothing else; a secret that is put there by hand later cannot\n// be a scope here.\n", "", "has no comment that says why"),
    Mistake("blobs can be read by anybody", "modules/storage.bicep",
            "allowBlobPublicAccess: false", "allowBlobPublicAccess: true", "properties.allowBlobPublicAccess must be false"),
    Mistake("the app has no identity", "modules/function-app.bicep",
            "  identity: {\n    type: 'UserAssigned'\n    userAssignedIdentities: {\n      '${identityId}': {}\n    }\n  }\n", "", "identity.type must be"),
    Mistake("keys are accepted by the namespace", "modules/service-bus.bicep",
            "disableLocalAuth: true", "disableLocalAuth: false", "properties.disableLocalAuth must be true"),
    Mistake("the vault can be purged", "modules/key-vault.bicep",
            "    enablePurgeProtection: true\n", "", "properties.enablePurgeProtection must be true"),
    Mistake("expired messages vanish", "modules/service-bus.bicep",
            "    deadLetteringOnMessageExpiration: true\n", "", "properties.deadLetteringOnMessageExpiration must be true"),
    Mistake("a secret leaves by an output", "modules/storage.bicep",
            "output name string = account.name", "output name string = account.listKeys().keys[0].value", "gives away listKeys"),
    Mistake("a secret comes in by a parameter", "main.bicep",
            "param logLevel string = 'info'", "param logLevel string = 'info'\n@secure()\nparam targetApiKey string = ''", "parameter 'targetApiKey' looks like a secret"),
    Mistake("the lock is shorter than the work", "main.bicep",
            "'PT3M'", "'PT1M'", "lockDuration must exceed invocationDeadlineSeconds"),
    Mistake("a setting of the app is missing", "main.bicep",
            "      SWEEP_SCHEDULE: sweepSchedule\n", "", "inbound-fn needs the setting SWEEP_SCHEDULE"),
    Mistake("a setting of the app is misspelt", "main.bicep",
            "TARGET_SECRET_NAME:", "TARGET_SECRETNAME:", "outbound-fn needs the setting TARGET_SECRET_NAME"),
    Mistake("nobody keeps the vault's log", "modules/key-vault.bicep",
            "  scope: vault\n", "", "'vault' has no diagnostic setting"),
    Mistake("a bracket is not closed", "modules/alerts.bicep",
            "    scopes: [\n      namespaceId\n    ]\n", "    scopes: [\n      namespaceId\n", "expected"),
    Mistake("a query names a column that its table lacks", "monitoring/alerts/oldest-message.kql",
            "max(value)", "max(metricValue)", "KS142"),
    Mistake("a query calls a function that does not exist", "monitoring/queries/lag.kql",
            "round(max(valueMax), 2)", "rund(max(valueMax), 2)", "KS211"),
    Mistake("a query compares a time with a number", "monitoring/queries/ledger.kql",
            "timestamp between (since .. until)", "timestamp > 5", "KS106"),
    Mistake("a query is not finished", "monitoring/queries/failing.kql",
            "| order by attempts desc", "| order by", "KS006"),
    Mistake("a query asks the component for a table of the workspace", "monitoring/alerts/breaker-open.kql",
            "customMetrics\n", "AppMetrics\n", "KS142"),
    Mistake("a query asks for a metric that no app has", "monitoring/alerts/throttling.kql",
            "dvsync.dataverse.held_back", "dvsync.dataverse.heldback", "no app has the metric 'dvsync.dataverse.heldback'"),
    Mistake("a query asks a metric for a dimension of another", "monitoring/alerts/breaker-open.kql",
            'customDimensions["system"]', 'customDimensions["identity"]', "what is read here has no dimension 'identity'"),
    Mistake("a query misspells a dimension", "monitoring/queries/unacknowledged.kql",
            'customDimensions["delay_ms"]', 'customDimensions["delayMs"]', "what is read here has no dimension 'delayMs'"),
    Mistake("a query looks for a value that is never there", "monitoring/queries/dead-letters.kql",
            "== 'dead_lettered'", "== 'deadlettered'", "disposition is never 'deadlettered'"),
    Mistake("a query looks for a request that nobody makes", "monitoring/queries/unacknowledged.kql",
            "name == 'Inbound'", "name == 'inbound-fn'", "nothing is called 'inbound-fn'"),
    Mistake("a query's parameter is called as a column", "monitoring/queries/change.kql",
            "let sought =", "let id =", "'id' is a column's name, too"),
    Mistake("an alert's query is a file that does not exist", "modules/log-alerts.bicep",
            "alerts/breaker-open.kql", "alerts/breaker.kql", "there is no file ../monitoring/alerts/breaker.kql"),
    Mistake("what a template replaces in a query is not there", "modules/log-alerts.bicep",
            "'let objective_percent = 99.0;'", "'let objective = 99.0;'", "lag-burn-fast.kql has no 'let objective = 99.0;'"),
    Mistake("the workbook is older than its queries", "monitoring/workbook.json",
            "dead_letter_oldest_s", "dead_letters_s", "is not what the queries make"),
    Mistake("nobody says what to do about an alert", "modules/log-alerts.bicep",
            "docs/operations.md#breaker-open", "docs/operations.md#breaker", "has no section 'breaker'"),
    Mistake("an alert's property is misspelt", "modules/log-alerts.bicep",
            "metricMeasureColumn: rule.measure", "measureColumn: rule.measure", "has no property 'measureColumn'"),
]


# Only checkov sees these. They are planted together, since it takes half a minute to start.
FOR_CHECKOV = [
    Mistake("old TLS is accepted by the app", "modules/function-app.bicep",
            "      minTlsVersion: '1.2'", "      minTlsVersion: '1.0'", "CKV_AZURE_15"),
    Mistake("FTP without TLS is accepted by the app", "modules/function-app.bicep",
            "ftpsState: 'Disabled'", "ftpsState: 'AllAllowed'", "CKV_AZURE_78"),
    Mistake("everybody may sign in to machines in the network", "modules/network.bicep",
            "        name: 'deny-internet-in'\n        properties: {\n          priority: 4000\n          direction: 'Inbound'\n          access: 'Deny'\n          protocol: '*'\n          sourceAddressPrefix: 'Internet'\n          sourcePortRange: '*'\n          destinationAddressPrefix: '*'\n          destinationPortRange: '*'",
            "        name: 'ssh'\n        properties: {\n          priority: 4000\n          direction: 'Inbound'\n          access: 'Allow'\n          protocol: 'Tcp'\n          sourceAddressPrefix: '*'\n          sourcePortRange: '*'\n          destinationAddressPrefix: '*'\n          destinationPortRange: '22'", "CKV_AZURE_10"),
]


class Outdated(Exception):
    """A mistake cannot be planted: the text that it changes is not there any more."""


def change(path, mistake):
    text = path.read_text()
    if mistake.old not in text:
        raise Outdated(f"its text is no longer in {mistake.file}")
    path.write_text(text.replace(mistake.old, mistake.new, 1))


def plant_for_checkov(root, place):
    for mistake in FOR_CHECKOV:
        path = place / mistake.file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / mistake.file, path)
        change(path, mistake)


def outcome_of(root, mistake, check):
    """Whether a mistake is found, and what is said of it."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "infra"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns("checks", "check", "__pycache__", "*.md"))
        try:
            change(copy / mistake.file, mistake)
        except Outdated as error:
            return False, error
        found = [p for listed in check(copy).values() for p in listed]
        for problem in found:
            if problem.file == mistake.file and mistake.said in problem.text:
                return True, problem
        return False, f"not found; said instead: {'; '.join(map(str, found)) or 'nothing'}"


def run(root, check, said_by_checkov):
    """Plants each mistake and prints a table. Returns how many were found and how many were not."""
    print(f"\n{len(MISTAKES) + len(FOR_CHECKOV)} planted mistakes")
    outcomes = [(mistake, *outcome_of(root, mistake, check)) for mistake in MISTAKES]
    for mistake in FOR_CHECKOV:
        said = [place for place, check_id in said_by_checkov if check_id == mistake.said and place.startswith(mistake.file)]
        outcomes.append((mistake, bool(said), f"{mistake.said} at {said[0]}" if said else "not found"))
    for mistake, found, said in outcomes:
        print(f"{'ok  ' if found else 'FAIL'} {mistake.what:<55} {said}")
    passed = sum(found for _, found, _ in outcomes)
    return passed, len(outcomes) - passed
