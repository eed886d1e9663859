metadata description = 'The workbook: the operator\'s five questions. monitoring/build makes workbook.json from the queries.'

param location string
param tags object
param displayName string
param insightsId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  // A workbook's name must be a GUID; the same one each time, so that a deployment updates it.
  name: guid(insightsId, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: insightsId
    version: 'Notebook/1.0'
    serializedData: replace(loadTextContent('../monitoring/workbook.json'), 'INSIGHTS_ID', insightsId)
  }
}
