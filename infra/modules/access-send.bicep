metadata description = 'The right to send to one queue or topic, and nothing else.'

param principalId string
param namespaceName string
param entityName string

@description('The entity is a topic, not a queue.')
param isTopic bool

var serviceBusDataSender = '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = {
  name: namespaceName
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' existing = if (!isTopic) {
  parent: namespace
  name: entityName
}

resource topic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' existing = if (isTopic) {
  parent: namespace
  name: entityName
}

// Who sends what is said where this module is used.
resource toQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!isTopic) {
  name: guid(namespace.id, entityName, principalId, serviceBusDataSender)
  scope: queue
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', serviceBusDataSender)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// The same if there is a topic in front of several queues.
resource toTopic 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (isTopic) {
  name: guid(namespace.id, entityName, principalId, serviceBusDataSender)
  scope: topic
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', serviceBusDataSender)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}
