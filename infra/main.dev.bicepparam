using 'main.bicep'

param environmentName = 'dev'
param dataverseUrl = 'https://contoso-dev.crm4.dynamics.com'
param targets = [
  {
    name: 'erp'
    url: 'https://erp-dev.contoso.com/api'
    secretName: 'erp-api-key'
    syncFile: 'sync.json'
  }
]

// Cheap, and loud: a developer reads along.
param maximumInstanceCount = 40
param logLevel = 'info,sync_core=debug'
param dailyLogQuotaGb = 1
// Whoever develops wants to see everything, and is not to be called.
param telemetryLogLevel = 'info'
param oldestMessageSeconds = 3600
param lagObjectivePercent = '95.0'
