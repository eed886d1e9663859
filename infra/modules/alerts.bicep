metadata description = 'Who is told, and alerts on what the bus itself counts. These work even if no telemetry of the apps arrives.'

param tags object

@description('Prefix of the alerts\' names.')
param name string
param namespaceId string

@description('Who is told. Nobody: the alerts are seen in the portal only.')
param emails array

@description('Messages waiting in one entity that are too many.')
param backlogThreshold int

var busNamespace = 'Microsoft.ServiceBus/namespaces'

// One line per alert. Severity: 1 somebody should look today, 2 somebody should know.
var rules = [
  {
    name: 'dead-letters'
    description: 'Messages were given up: the reason is on each of them, and on its row in Dataverse. First: the workbook\'s dead letters, by reason. docs/operations.md#dead-letters'
    severity: 1
    metric: 'DeadletteredMessages'
    aggregation: 'Maximum'
    threshold: 0
    window: 'PT5M'
    byEntity: true
  }
  {
    name: 'backlog'
    description: 'More messages are waiting than are being worked off: an app is down, throttled, or too small. First: is the app running, and do its invocations fail? docs/operations.md#backlog'
    severity: 2
    metric: 'ActiveMessages'
    // The least in the window, so that a peak that is being worked off does not count. The bus has no metric
    // of how long messages have been waiting.
    aggregation: 'Minimum'
    threshold: backlogThreshold
    window: 'PT15M'
    byEntity: true
  }
  {
    name: 'bus-errors'
    description: 'Service Bus failed requests by its own fault. First: Azure status; nothing is lost meanwhile. docs/operations.md#bus-errors'
    severity: 2
    metric: 'ServerErrors'
    aggregation: 'Total'
    threshold: 10
    window: 'PT15M'
    byEntity: false
  }
  {
    name: 'bus-throttling'
    description: 'The namespace is over its limits. First: Premium, or more messaging units. docs/operations.md#bus-throttling'
    severity: 2
    metric: 'ThrottledRequests'
    aggregation: 'Total'
    threshold: 10
    window: 'PT15M'
    byEntity: false
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-people'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'dvsync'
    emailReceivers: [for (email, i) in emails: {
      name: 'email-${i}'
      emailAddress: email
      useCommonAlertSchema: true
    }]
  }
}

resource alerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [for rule in rules: {
  name: '${name}-${rule.name}'
  location: 'global'
  tags: tags
  properties: {
    description: rule.description
    severity: rule.severity
    enabled: true
    autoMitigate: true
    scopes: [
      namespaceId
    ]
    evaluationFrequency: 'PT1M'
    windowSize: rule.window
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: rule.name
          metricNamespace: busNamespace
          metricName: rule.metric
          timeAggregation: rule.aggregation
          operator: 'GreaterThan'
          threshold: rule.threshold
          dimensions: rule.byEntity ? [
            {
              name: 'EntityName'
              operator: 'Include'
              values: [
                '*'
              ]
            }
          ] : []
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
  }
}]

output peopleId string = people.id
