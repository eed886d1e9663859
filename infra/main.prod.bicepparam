using 'main.bicep'

param environmentName = 'prod'
param dataverseUrl = 'https://contoso.crm4.dynamics.com'
param targets = [
  {
    name: 'erp'
    url: 'https://erp.contoso.com/api'
    secretName: 'erp-api-key'
    syncFile: 'sync.json'
  }
]

param serviceBusSku = 'Premium'
param messagingUnits = 1
param zoneRedundant = true
param storageSku = 'Standard_ZRS'
param privateNetworking = true
// Until Power Platform virtual network support is set up for the Dataverse environment.
param publicServiceBus = true
param maximumInstanceCount = 100
param instanceMemoryMB = 2048
param logRetentionDays = 90
param alertEmails = [
  'integration-oncall@contoso.com'
]
// Failures are kept whatever this is; queries weigh the rest.
param telemetrySamplingPercent = 20
param oldestMessageSeconds = 600
param failurePercent = 10
