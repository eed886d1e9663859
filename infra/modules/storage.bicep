metadata description = 'The storage account of one function app: host locks, timer state, and the app package.'

param location string
param tags object
param name string
param sku string
param workspaceId string

@description('Subnet for private endpoints. Empty: the account is reached over its public address.')
param endpointSubnetId string
param blobZoneId string
param tableZoneId string

var isPrivate = !empty(endpointSubnetId)

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
    // No keys, no SAS: the app signs in with its identity.
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowCrossTenantReplication: false
    isLocalUserEnabled: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource package 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: 'app-package'
  properties: {
    publicAccess: 'None'
  }
}

// Reads and writes are the host renewing its leases every few seconds: only deletions say something.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

module blobEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: '${name}-blob-endpoint'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}-blob'
    subnetId: endpointSubnetId
    resourceId: account.id
    group: 'blob'
    zoneId: blobZoneId
  }
}

module tableEndpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: '${name}-table-endpoint'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}-table'
    subnetId: endpointSubnetId
    resourceId: account.id
    group: 'table'
    zoneId: tableZoneId
  }
}

output name string = account.name
output packageContainerUrl string = '${account.properties.primaryEndpoints.blob}${package.name}'
