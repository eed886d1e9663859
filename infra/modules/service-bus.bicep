metadata description = 'The namespace: one queue per target, one for acknowledgements, and a topic in front if there are several targets.'

param location string
param tags object
param name string

@allowed([
  'Standard'
  'Premium'
])
param sku string

@description('Messaging units, Premium only.')
@allowed([
  1
  2
  4
  8
  16
])
param messagingUnits int

@description('Names of the targets. Each has a queue outbound-NAME.')
param targetNames array

@description('A topic that all targets subscribe to. The plug-in then posts to it instead of to the only queue.')
param useTopic bool

@description('How long a message is locked before another instance may have it. Longer than the work on one message takes.')
param lockDuration string

param workspaceId string
param publicNetworkAccess string

@description('Subnet for private endpoints, Premium only. Empty: none.')
param endpointSubnetId string
param zoneId string

var isPremium = sku == 'Premium'
var outboundQueues = [for target in targetNames: 'outbound-${target}']
var inboundQueue = 'inbound'
var topicName = 'notifications'

// A retry waits in its queue as a scheduled message, at most retry.maxAgeHours of sync.json (72 hours by
// default). What is older than this was forgotten, and a person should see it.
var timeToLive = 'P14D'
var duplicateWindow = 'PT10M'
// Deliveries that end without an answer, i.e. crashes. Retries are counted elsewhere.
var maxDeliveries = 10

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    tier: sku
    capacity: isPremium ? messagingUnits : null
  }
  properties: {
    // No SAS keys at all: everybody signs in.
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicNetworkAccess
  }
}

resource outbound 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = [for queue in outboundQueues: {
  parent: namespace
  name: queue
  properties: {
    lockDuration: lockDuration
    maxDeliveryCount: maxDeliveries
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: duplicateWindow
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
    maxSizeInMegabytes: 5120
    enableBatchedOperations: true
    // A message is settled by its lock token from another connection, which sessions do not allow.
    requiresSession: false
  }
}]

resource inbound 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: namespace
  name: inboundQueue
  properties: {
    lockDuration: lockDuration
    maxDeliveryCount: maxDeliveries
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: duplicateWindow
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
    maxSizeInMegabytes: 5120
    enableBatchedOperations: true
    requiresSession: false
  }
}

resource topic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = if (useTopic) {
  parent: namespace
  name: topicName
  properties: {
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: duplicateWindow
    defaultMessageTimeToLive: timeToLive
    maxSizeInMegabytes: 5120
    enableBatchedOperations: true
  }
}

// A subscription hands everything on to its target's queue. So a retry, which an app sends to the queue
// that it reads, comes back to this target alone, and an app need not know whether there is a topic.
resource subscriptions 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = [for target in (useTopic ? targetNames : []): {
  parent: topic
  name: target
  properties: {
    forwardTo: 'outbound-${target}'
    lockDuration: lockDuration
    maxDeliveryCount: maxDeliveries
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
    deadLetteringOnFilterEvaluationExceptions: true
    enableBatchedOperations: true
  }
  dependsOn: [
    outbound
  ]
}]

// In the place of the rule that every new subscription has: a message that names a target is for it only.
resource rules 'Microsoft.ServiceBus/namespaces/topics/subscriptions/rules@2024-01-01' = [for (target, i) in (useTopic ? targetNames : []): {
  parent: subscriptions[i]
  name: '$Default'
  properties: {
    filterType: 'SqlFilter'
    sqlFilter: {
      sqlExpression: 'TargetSystem IS NULL OR TargetSystem = \'${target}\''
    }
  }
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

module endpoint 'private-endpoint.bicep' = if (!empty(endpointSubnetId)) {
  name: '${name}-endpoint'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}'
    subnetId: endpointSubnetId
    resourceId: namespace.id
    group: 'namespace'
    zoneId: zoneId
  }
}

output namespaceId string = namespace.id
output namespaceName string = namespace.name
output namespaceHost string = '${namespace.name}.servicebus.windows.net'
output outboundQueues array = outboundQueues
output inboundQueue string = inbound.name
output publishTo string = useTopic ? topicName : outboundQueues[0]
