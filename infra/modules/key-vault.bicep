metadata description = 'The vault for the one secret there is: the key of each target. The secret itself is put there by hand.'

param location string
param tags object
param name string
param workspaceId string

@description('Subnet for private endpoints. Empty: the vault is reached over its public address.')
param endpointSubnetId string
param zoneId string

var isPrivate = !empty(endpointSubnetId)

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    // Whoever deletes the vault, by mistake or not, cannot make the secrets unrecoverable for 90 days.
    enablePurgeProtection: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
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

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: '${name}-endpoint'
  params: {
    location: location
    tags: tags
    name: 'pe-${name}'
    subnetId: endpointSubnetId
    resourceId: vault.id
    group: 'vault'
    zoneId: zoneId
  }
}

output name string = vault.name
output url string = vault.properties.vaultUri
