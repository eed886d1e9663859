metadata description = 'The network of the private option: a subnet per app, one for private endpoints, one outgoing address, private zones.'

param location string
param tags object
param name string
param addressPrefix string

@description('The first for private endpoints, then one for each app.')
param subnetPrefixes array

@description('One subnet for each app.')
param appNames array

@description('Whom the subnets of the apps are delegated to; depends on the hosting plan.')
param appDelegation string

var endpointSubnet = 'private-endpoints'
var zoneNames = [
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink.vaultcore.azure.net'
  'privatelink.servicebus.windows.net'
  'privatelink.azurewebsites.net'
]

// The private endpoints' subnet first, then one for each app.
var subnetNames = concat([
  endpointSubnet
], appSubnetNames)
var appSubnetNames = [for app in appNames: 'app-${app}']

// Nothing calls the apps: they take messages from the bus, and call out.
resource appRules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-${name}-apps'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'deny-internet-in'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource endpointRules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-${name}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'allow-tls-from-the-network'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRanges: [
            '443'
            '5671'
          ]
        }
      }
      {
        name: 'deny-everything-else-in'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// One address for all calls to Dataverse and the targets, which their firewalls can let in.
resource outgoing 'Microsoft.Network/publicIPAddresses@2024-07-01' = {
  name: 'pip-${name}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource nat 'Microsoft.Network/natGateways@2024-07-01' = {
  name: 'nat-${name}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: outgoing.id
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [for (subnet, i) in subnetNames: {
      name: subnet
      properties: i == 0 ? {
        addressPrefix: subnetPrefixes[i]
        defaultOutboundAccess: false
        privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
        networkSecurityGroup: {
          id: endpointRules.id
        }
      } : {
        addressPrefix: subnetPrefixes[i]
        delegations: [
          {
            name: 'functions'
            properties: {
              serviceName: appDelegation
            }
          }
        ]
        natGateway: {
          id: nat.id
        }
        networkSecurityGroup: {
          id: appRules.id
        }
      }
    }]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zoneNames: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, i) in zoneNames: {
  parent: zones[i]
  name: name
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

output endpointSubnetId string = '${network.id}/subnets/${endpointSubnet}'
output appSubnetIds array = [for subnet in appSubnetNames: '${network.id}/subnets/${subnet}']
output blobZoneId string = zones[0].id
output tableZoneId string = zones[1].id
output vaultZoneId string = zones[2].id
output serviceBusZoneId string = zones[3].id
output sitesZoneId string = zones[4].id
output outgoingAddress string = outgoing.properties.ipAddress
