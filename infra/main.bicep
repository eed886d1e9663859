metadata name = 'dataverse-sync'
metadata description = 'Everything that dataverse-sync needs in one resource group.'

targetScope = 'resourceGroup'

@description('Start of all names.')
@minLength(3)
@maxLength(7)
param prefix string = 'dvsync'

@allowed([
  'dev'
  'test'
  'prod'
])
param environmentName string

param location string = resourceGroup().location

@description('More tags for every resource.')
param extraTags object = {}

@description('Address of the Dataverse environment, as in https://contoso.crm4.dynamics.com')
param dataverseUrl string

@description('The target systems: name (lower case letters, digits and hyphens, at most 14), url, secretName, which is the name of the secret in the vault that holds its key, and syncFile, the name of its sync file in the packages. With more than one, notifications go through a topic.')
@minLength(1)
param targets array

@description('Object id of the identity that the Dataverse plug-in signs in with. Empty: give it the right to send later.')
param publisherPrincipalId string = ''

@allowed([
  'Standard'
  'Premium'
])
param serviceBusSku string = 'Standard'

@allowed([
  1
  2
  4
  8
  16
])
param messagingUnits int = 1

@description('Flex Consumption, or Elastic Premium for apps that must never start cold.')
@allowed([
  'Flex'
  'Premium'
])
param plan string = 'Flex'

@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 512

@description('Spread the instances of each app over availability zones. Takes a region that has them, and three instances at least with Premium.')
param zoneRedundant bool = false

@description('Let the platform scale by queue length. Costs each app the right to manage the queue that it reads.')
param scaleByQueueLength bool = true

@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GZRS'
])
param storageSku string = 'Standard_LRS'

@description('NCRONTAB: when notifications that did not reach the bus are posted again.')
param sweepSchedule string = '0 */1 * * * *'

param logLevel string = 'info'
param logRetentionDays int = 30

@description('Gigabytes of logs a day at most, -1 for no limit.')
param dailyLogQuotaGb int = -1

@description('Addresses that alerts are sent to.')
param alertEmails array = []
param backlogThreshold int = 1000

@description('Invocations in five minutes that the host counts as failed and that are too many.')
param failureThreshold int = 20

@description('Age of the oldest change on a queue that is too old.')
param oldestMessageSeconds int = 900

@description('A change is acknowledged in time within so many seconds of its save.')
param lagObjectiveSeconds int = 60

@description('Percent of the changes that have to be, with its decimals, as in 99.5')
param lagObjectivePercent string = '99.0'

@description('How many times too fast what the objective allows may be used up over an hour, and over six.')
param fastBurnRate int = 14
param slowBurnRate int = 6

@description('Percent of failed attempts that is too much.')
param failurePercent int = 25

@description('Percent of the time that Dataverse may hold back an identity.')
param heldBackPercent int = 20

@description('Percent of the invocations whose telemetry is kept. Those of failures always are.')
@minValue(1)
@maxValue(100)
param telemetrySamplingPercent int = 100

@description('What of the apps\' log goes to Application Insights.')
param telemetryLogLevel string = 'warn'
param telemetryMetricsSeconds int = 60

@description('Apps in a network of their own; storage, vault and namespace reached by private endpoints only. Takes a Premium namespace.')
param privateNetworking bool = false

@description('Keep the namespace reachable from outside the network. Needed while the plug-in runs outside it, i.e. without Power Platform virtual network support.')
param publicServiceBus bool = false

param networkAddressPrefix string = '10.71.0.0/24'

@description('The first for private endpoints, then one for each app: inbound, and each target.')
param subnetPrefixes array = [
  '10.71.0.0/26'
  '10.71.0.64/26'
  '10.71.0.128/26'
  '10.71.0.192/26'
]

var suffix = uniqueString(resourceGroup().id, prefix, environmentName)
var name = '${prefix}-${environmentName}-${suffix}'
var tags = union(extraTags, {
  application: 'dataverse-sync'
  environment: environmentName
})

var useTopic = length(targets) > 1
var targetNames = [for target in targets: target.name]
var syncFiles = [for target in targets: target.syncFile]
var appNames = concat([
  'inbound'
], outboundAppNames)
var outboundAppNames = [for target in targets: 'outbound-${target.name}']

// Private endpoints exist for Premium namespaces only.
var namespaceSku = privateNetworking ? 'Premium' : serviceBusSku
var namespacePublicAccess = privateNetworking && !publicServiceBus ? 'Disabled' : 'Enabled'

// The work on one message ends after this. Longer than it: the lock, so that it holds even if one renewal
// fails, and, in host.json, maxAutoLockRenewalDuration and functionTimeout.
var invocationDeadlineSeconds = 120
var lockDuration = 'PT3M'

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    location: location
    tags: tags
    workspaceName: 'log-${name}'
    insightsName: 'appi-${name}'
    retentionDays: logRetentionDays
    dailyQuotaGb: dailyLogQuotaGb
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  name: 'network'
  params: {
    location: location
    tags: tags
    name: 'vnet-${name}'
    addressPrefix: networkAddressPrefix
    subnetPrefixes: subnetPrefixes
    appNames: appNames
    appDelegation: plan == 'Flex' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'
  }
}

module serviceBus 'modules/service-bus.bicep' = {
  name: 'service-bus'
  params: {
    location: location
    tags: tags
    name: 'sb-${name}'
    sku: namespaceSku
    messagingUnits: messagingUnits
    targetNames: targetNames
    useTopic: useTopic
    lockDuration: lockDuration
    workspaceId: monitoring.outputs.workspaceId
    publicNetworkAccess: namespacePublicAccess
    endpointSubnetId: privateNetworking ? network!.outputs.endpointSubnetId : ''
    zoneId: privateNetworking ? network!.outputs.serviceBusZoneId : ''
  }
}

module keyVault 'modules/key-vault.bicep' = {
  name: 'key-vault'
  params: {
    location: location
    tags: tags
    // 24 characters at most.
    name: 'kv-${prefix}-${suffix}'
    workspaceId: monitoring.outputs.workspaceId
    endpointSubnetId: privateNetworking ? network!.outputs.endpointSubnetId : ''
    zoneId: privateNetworking ? network!.outputs.vaultZoneId : ''
  }
}

module identities 'modules/identity.bicep' = [for app in appNames: {
  name: 'identity-${app}'
  params: {
    location: location
    tags: tags
    name: 'id-${app}-${name}'
  }
}]

module storage 'modules/storage.bicep' = [for app in appNames: {
  name: 'storage-${app}'
  params: {
    location: location
    tags: tags
    // 24 characters at most, and no hyphens.
    name: 'st${uniqueString(resourceGroup().id, prefix, environmentName, app)}'
    sku: storageSku
    workspaceId: monitoring.outputs.workspaceId
    endpointSubnetId: privateNetworking ? network!.outputs.endpointSubnetId : ''
    blobZoneId: privateNetworking ? network!.outputs.blobZoneId : ''
    tableZoneId: privateNetworking ? network!.outputs.tableZoneId : ''
  }
}]

module hostAccess 'modules/access-host.bicep' = [for (app, i) in appNames: {
  name: 'access-host-${app}'
  params: {
    principalId: identities[i].outputs.principalId
    storageName: storage[i].outputs.name
    insightsName: monitoring.outputs.insightsName
  }
}]

// Each app reads one queue: inbound-fn the acknowledgements, each outbound-fn the notifications for its target.
module queueAccess 'modules/access-own-queue.bicep' = [for (app, i) in appNames: {
  name: 'access-queue-${app}'
  params: {
    principalId: identities[i].outputs.principalId
    namespaceName: serviceBus.outputs.namespaceName
    // The queues have the apps' names.
    queueName: app
    scaleByQueueLength: scaleByQueueLength
  }
}]

// After a delivery, outbound-fn sends the acknowledgement.
module acknowledgeAccess 'modules/access-send.bicep' = [for (app, i) in outboundAppNames: {
  name: 'access-acknowledge-${app}'
  params: {
    principalId: identities[i + 1].outputs.principalId
    namespaceName: serviceBus.outputs.namespaceName
    entityName: serviceBus.outputs.inboundQueue
    isTopic: false
  }
}]

// The sweep of inbound-fn posts notifications that the plug-in could not post.
module sweepAccess 'modules/access-send.bicep' = {
  name: 'access-sweep'
  params: {
    principalId: identities[0].outputs.principalId
    namespaceName: serviceBus.outputs.namespaceName
    entityName: serviceBus.outputs.publishTo
    isTopic: useTopic
  }
}

// The plug-in posts notifications.
module publisherAccess 'modules/access-send.bicep' = if (!empty(publisherPrincipalId)) {
  name: 'access-publisher'
  params: {
    principalId: publisherPrincipalId
    namespaceName: serviceBus.outputs.namespaceName
    entityName: serviceBus.outputs.publishTo
    isTopic: useTopic
  }
}

// Only outbound-fn speaks to a target, and so only it may read targets' keys.
module secretAccess 'modules/access-secrets.bicep' = [for (app, i) in outboundAppNames: {
  name: 'access-secrets-${app}'
  params: {
    principalId: identities[i + 1].outputs.principalId
    vaultName: keyVault.outputs.name
  }
}]

module inbound 'modules/function-app.bicep' = {
  name: 'app-inbound'
  params: {
    location: location
    tags: tags
    name: 'func-inbound-${name}'
    planName: 'plan-inbound-${name}'
    plan: plan
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    zoneRedundant: zoneRedundant
    identityId: identities[0].outputs.id
    identityClientId: identities[0].outputs.clientId
    storageName: storage[0].outputs.name
    packageContainerUrl: storage[0].outputs.packageContainerUrl
    insightsName: monitoring.outputs.insightsName
    workspaceId: monitoring.outputs.workspaceId
    serviceBusHost: serviceBus.outputs.namespaceHost
    subnetId: privateNetworking ? network!.outputs.appSubnetIds[0] : ''
    endpointSubnetId: privateNetworking ? network!.outputs.endpointSubnetId : ''
    zoneId: privateNetworking ? network!.outputs.sitesZoneId : ''
    settings: {
      DATAVERSE_URL: dataverseUrl
      INBOUND_QUEUE: serviceBus.outputs.inboundQueue
      // All targets' acknowledgements come here, each with columns of its own.
      SYNC_FILES: join(syncFiles, ',')
      // Where the sweep posts: the queue, or the topic in front of several.
      OUTBOUND_QUEUE: serviceBus.outputs.publishTo
      SWEEP_SCHEDULE: sweepSchedule
      INVOCATION_DEADLINE_SECONDS: string(invocationDeadlineSeconds)
      LOG_LEVEL: logLevel
      TELEMETRY_SAMPLING_PERCENT: string(telemetrySamplingPercent)
      TELEMETRY_LOG_LEVEL: telemetryLogLevel
      TELEMETRY_METRICS_SECONDS: string(telemetryMetricsSeconds)
      LAG_OBJECTIVE_SECONDS: string(lagObjectiveSeconds)
    }
  }
  dependsOn: [
    hostAccess
    queueAccess
    sweepAccess
  ]
}

module outbound 'modules/function-app.bicep' = [for (target, i) in targets: {
  name: 'app-outbound-${target.name}'
  params: {
    location: location
    tags: tags
    name: 'func-outbound-${target.name}-${name}'
    planName: 'plan-outbound-${target.name}-${name}'
    plan: plan
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    zoneRedundant: zoneRedundant
    identityId: identities[i + 1].outputs.id
    identityClientId: identities[i + 1].outputs.clientId
    storageName: storage[i + 1].outputs.name
    packageContainerUrl: storage[i + 1].outputs.packageContainerUrl
    insightsName: monitoring.outputs.insightsName
    workspaceId: monitoring.outputs.workspaceId
    serviceBusHost: serviceBus.outputs.namespaceHost
    subnetId: privateNetworking ? network!.outputs.appSubnetIds[i + 1] : ''
    endpointSubnetId: privateNetworking ? network!.outputs.endpointSubnetId : ''
    zoneId: privateNetworking ? network!.outputs.sitesZoneId : ''
    settings: {
      DATAVERSE_URL: dataverseUrl
      INBOUND_QUEUE: serviceBus.outputs.inboundQueue
      OUTBOUND_QUEUE: serviceBus.outputs.outboundQueues[i]
      SYNC_FILES: target.syncFile
      TARGET_URL: target.url
      KEY_VAULT_URL: keyVault.outputs.url
      TARGET_SECRET_NAME: target.secretName
      INVOCATION_DEADLINE_SECONDS: string(invocationDeadlineSeconds)
      LOG_LEVEL: logLevel
      TELEMETRY_SAMPLING_PERCENT: string(telemetrySamplingPercent)
      TELEMETRY_LOG_LEVEL: telemetryLogLevel
      TELEMETRY_METRICS_SECONDS: string(telemetryMetricsSeconds)
      LAG_OBJECTIVE_SECONDS: string(lagObjectiveSeconds)
    }
  }
  dependsOn: [
    hostAccess
    queueAccess
    acknowledgeAccess
    secretAccess
  ]
}]

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  params: {
    tags: tags
    name: name
    namespaceId: serviceBus.outputs.namespaceId
    emails: alertEmails
    backlogThreshold: backlogThreshold
  }
}

module logAlerts 'modules/log-alerts.bicep' = {
  name: 'log-alerts'
  params: {
    location: location
    tags: tags
    name: name
    insightsId: monitoring.outputs.insightsId
    workspaceId: monitoring.outputs.workspaceId
    peopleId: alerts.outputs.peopleId
    oldestMessageSeconds: oldestMessageSeconds
    lagObjectivePercent: lagObjectivePercent
    fastBurnRate: fastBurnRate
    slowBurnRate: slowBurnRate
    failurePercent: failurePercent
    failureThreshold: failureThreshold
    heldBackPercent: heldBackPercent
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  params: {
    location: location
    tags: tags
    displayName: 'dataverse-sync ${environmentName}'
    insightsId: monitoring.outputs.insightsId
  }
}

// What dvsync check --live has to know: where everything is, and who calls it. No secret among it.
output dataverseUrl string = dataverseUrl
output namespaceHost string = serviceBus.outputs.namespaceHost
output inboundQueue string = serviceBus.outputs.inboundQueue
output outboundQueues array = serviceBus.outputs.outboundQueues

@description('Where the plug-in posts: the queue of the only target, or the topic.')
output publishTo string = serviceBus.outputs.publishTo
output vaultUrl string = keyVault.outputs.url
output vaultName string = keyVault.outputs.name

@description('The app and its client id, which is what Dataverse knows it by.')
output inboundApp object = {
  name: inbound.outputs.name
  identityClientId: identities[0].outputs.clientId
  packageContainerUrl: storage[0].outputs.packageContainerUrl
}

@description('The same of each target\'s app.')
output outboundApps array = [for (target, i) in targets: {
  name: outbound[i].outputs.name
  target: target.name
  targetUrl: target.url
  secretName: target.secretName
  queue: serviceBus.outputs.outboundQueues[i]
  identityClientId: identities[i + 1].outputs.clientId
  packageContainerUrl: storage[i + 1].outputs.packageContainerUrl
}]
output insightsName string = monitoring.outputs.insightsName
output lagObjectiveSeconds int = lagObjectiveSeconds

@description('What firewalls of targets have to let in, with private networking.')
output outgoingAddress string = privateNetworking ? network!.outputs.outgoingAddress : ''
