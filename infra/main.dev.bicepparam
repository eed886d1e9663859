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
