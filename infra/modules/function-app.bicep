metadata description = 'One function app and its plan: Flex Consumption, or Elastic Premium as an option. The package is a custom handler.'

param location string
param tags object
param name string
param planName string

@description('Flex Consumption (FC1) or Elastic Premium (EP1).')
@allowed([
  'Flex'
  'Premium'
])
param plan string

@description('Instances at most. What they do together to Dataverse and the target is bounded by this.')
param maximumInstanceCount int

@description('Memory of an instance, Flex only.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int

param zoneRedundant bool

param identityId string
param identityClientId string
param storageName string
param packageContainerUrl string
param insightsName string
param workspaceId string
param serviceBusHost string

@description('What only this app needs: name and value.')
param settings object

@description('Subnet that the app calls out through. Empty: none.')
param subnetId string

@description('Subnet for private endpoints. Empty: deployments reach the app over its public address.')
param endpointSubnetId string
param zoneId string

var isPremium = plan == 'Premium'
var isPrivate = !empty(endpointSubnetId)

// On Flex, the runtime and where the package is are the app's configuration, and these settings are refused.
var premiumSettings = isPremium ? {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'custom'
  WEBSITE_RUN_FROM_PACKAGE: '${packageContainerUrl}/package.zip'
  WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID: identityId
} : {}

// Identity instead of a connection string, three times over: the host's storage, its trigger, its telemetry.
var hostSettings = {
  AzureWebJobsStorage__accountName: storageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  ServiceBus__fullyQualifiedNamespace: serviceBusHost
  ServiceBus__credential: 'managedidentity'
  ServiceBus__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${identityClientId}'
  // The same identity for what the app itself calls: Dataverse, Service Bus, Key Vault.
  AZURE_CLIENT_ID: identityClientId
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource hosting 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: isPremium ? 'elastic' : 'functionapp'
  sku: {
    name: isPremium ? 'EP1' : 'FC1'
    tier: isPremium ? 'ElasticPremium' : 'FlexConsumption'
    // A zone-redundant Premium plan has an instance in each of three zones.
    capacity: isPremium && zoneRedundant ? 3 : null
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
    maximumElasticWorkerCount: isPremium ? maximumInstanceCount : null
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: hosting.id
    httpsOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: isPremium ? null : {
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: instanceMemoryMB
        // None: messages wait in the queue for the seconds that a cold start takes, and nothing is paid while it is quiet.
        alwaysReady: []
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      functionAppScaleLimit: isPremium ? maximumInstanceCount : null
      // With a private namespace only the app itself can see how long its queue is.
      functionsRuntimeScaleMonitoringEnabled: isPremium && isPrivate ? true : null
      vnetRouteAllEnabled: isPremium && isPrivate ? true : null
    }
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(hostSettings, premiumSettings, settings)
}

// Deploying takes an identity, too: no user name and password.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noDeploymentPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

// The host's log reaches Application Insights, too. This copy is for when just that does not work.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-log-analytics'
  scope: app
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'FunctionAppLogs'
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
    resourceId: app.id
    group: 'sites'
    zoneId: zoneId
  }
}

output name string = app.name
