using 'main.bicep'

param environmentName = 'test'
param dataverseUrl = 'https://contoso-test.crm4.dynamics.com'
param targets = [
  {
    name: 'erp'
    url: 'https://erp-test.contoso.com/api'
    secretName: 'erp-api-key'
    syncFile: 'sync.json'
  }
]

// Like production where it can fail differently (network, tier), smaller where it only costs.
param serviceBusSku = 'Premium'
param privateNetworking = true
param publicServiceBus = true
param maximumInstanceCount = 40
param alertEmails = [
  'integration-team@contoso.com'
]
param lagObjectivePercent = '95.0'
