metadata description = 'Alerts on what the apps say of themselves. Each query is a file in monitoring/alerts; what each alert means and what to do: docs/operations.md.'

param location string
param tags object

@description('Prefix of the alerts\' names.')
param name string
param insightsId string
param workspaceId string

@description('The action group that is told.')
param peopleId string

@description('Age of the oldest change on a queue that is too old, waits for outages left out.')
param oldestMessageSeconds int

@description('Percent of the changes that have to be acknowledged within LAG_OBJECTIVE_SECONDS, with its decimals, as in 99.5')
param lagObjectivePercent string

@description('How many times too fast the lag objective\'s budget may be used up over an hour, and over six.')
param fastBurnRate int
param slowBurnRate int

@description('Percent of failed attempts that is too much. Single failures are retried and no reason to wake anybody.')
param failurePercent int

@description('Invocations in five minutes that the host counts as failed and that are too many.')
param failureThreshold int

@description('Percent of the time that Dataverse may hold back an identity.')
param heldBackPercent int

var objective = 'let objective_percent = ${lagObjectivePercent};'

// One entry per alert. Severity: 1 somebody should look today, 2 somebody should know. What the bus itself counts
// (dead letters, backlog) is in alerts.bicep and not here once more.
var rules = [
  {
    name: 'oldest-message'
    description: 'A change has been waiting for too long, although nothing is known to be down. First: the workbook, what is failing. docs/operations.md#oldest-message'
    severity: 1
    query: loadTextContent('../monitoring/alerts/oldest-message.kql')
    measure: 'seconds'
    splitBy: ['queue']
    threshold: oldestMessageSeconds
    window: 'PT5M'
    every: 'PT5M'
  }
  {
    name: 'lag-burn-fast'
    description: 'Changes are acknowledged late, so many that the objective of a month is gone within two days. First: the workbook, lag and what is failing. docs/operations.md#lag-burn-fast'
    severity: 1
    query: replace(loadTextContent('../monitoring/alerts/lag-burn-fast.kql'), 'let objective_percent = 99.0;', objective)
    measure: 'burn'
    splitBy: ['target']
    threshold: fastBurnRate
    window: 'PT1H'
    every: 'PT5M'
  }
  {
    name: 'lag-burn-slow'
    description: 'Changes are acknowledged late, so many that the objective of a month is gone within five days. First: the workbook, lag by hour. docs/operations.md#lag-burn-slow'
    severity: 2
    query: replace(loadTextContent('../monitoring/alerts/lag-burn-slow.kql'), 'let objective_percent = 99.0;', objective)
    measure: 'burn'
    splitBy: ['target']
    threshold: slowBurnRate
    window: 'PT6H'
    every: 'PT15M'
  }
  {
    name: 'failure-rate'
    description: 'Many attempts fail. They are retried, and given up in the end. First: the workbook, what is failing, by reason. docs/operations.md#failure-rate'
    severity: 2
    query: loadTextContent('../monitoring/alerts/failure-rate.kql')
    measure: 'percent'
    splitBy: ['function', 'target']
    threshold: failurePercent
    window: 'PT15M'
    every: 'PT5M'
  }
  {
    name: 'unsettled'
    description: 'Invocations failed that the app could neither finish, nor reschedule, nor dead-letter: it was killed, did not start, or cannot reach the bus. After ten times the broker gives a message up. First: the log stream of the app. docs/operations.md#unsettled'
    severity: 1
    query: loadTextContent('../monitoring/alerts/unsettled.kql')
    measure: 'invocations'
    splitBy: ['app']
    threshold: failureThreshold
    window: 'PT5M'
    every: 'PT5M'
  }
  {
    name: 'breaker-open'
    description: 'An app has stopped calling Dataverse or its target, which failed over and over. Messages wait and are not counted as retries. First: is that system up, is its key or address right? docs/operations.md#breaker-open'
    severity: 1
    query: loadTextContent('../monitoring/alerts/breaker-open.kql')
    measure: 'state'
    splitBy: ['app', 'system']
    threshold: 0
    window: 'PT10M'
    every: 'PT5M'
  }
  {
    name: 'throttling'
    description: 'Dataverse holds an identity back for much of the time. Changes arrive late, none is lost. First: the workbook, Dataverse: which limit, and who else uses it? docs/operations.md#throttling'
    severity: 2
    query: loadTextContent('../monitoring/alerts/throttling.kql')
    measure: 'percent'
    splitBy: ['app', 'identity']
    threshold: heldBackPercent
    window: 'PT15M'
    every: 'PT5M'
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${name}-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}-${rule.name}'
    description: rule.description
    severity: rule.severity
    enabled: true
    autoMitigate: true
    // On the component, whose tables have the classic names, not on the workspace: it holds this environment only.
    scopes: [
      insightsId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.window
    criteria: {
      allOf: [
        {
          query: rule.query
          metricMeasureColumn: rule.measure
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: rule.threshold
          dimensions: [for column in rule.splitBy: {
            name: column
            operator: 'Include'
            values: [
              '*'
            ]
          }]
          failingPeriods: {
            // More than one would take a query that returns a time. What has to last is in the queries instead.
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        peopleId
      ]
    }
  }
}]

// The only one on the workspace: the bus's own metrics are there, and not in the component.
resource silence 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-silence'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}-silence'
    description: 'Messages wait, and no app says anything: none is running, or telemetry does not arrive. First: are the function apps running? docs/operations.md#silence'
    severity: 1
    enabled: true
    autoMitigate: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: loadTextContent('../monitoring/alerts/silence.kql')
          metricMeasureColumn: 'silent'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        peopleId
      ]
    }
  }
}
