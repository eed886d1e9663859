//! Asks an environment for the definitions of the tables that travel.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::check::files::SyncFile;
use crate::dataverse;

/// Choices and their like, which have options.
const WITH_OPTIONS: [&str; 4] = ["Picklist", "MultiSelectPicklist", "State", "Status"];

pub(super) async fn documents(
    environment: &dataverse::Environment,
    files: &[SyncFile],
) -> anyhow::Result<Vec<Value>> {
    let mut paths = vec![
        "?$select=LogicalName,EntitySetName,PrimaryIdAttribute".to_owned(),
        "/Attributes".to_owned(),
        "/ManyToOneRelationships".to_owned(),
    ];
    paths.extend(WITH_OPTIONS.map(|kind| {
        format!(
            "/Attributes/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$select=LogicalName,EntityLogicalName&$expand=OptionSet($select=Options)"
        )
    }));
    let mut documents = Vec::new();
    let tables = files.iter().flat_map(|file| file.config.tables.keys());
    for table in tables.collect::<BTreeSet<_>>() {
        for path in &paths {
            let path = format!("EntityDefinitions(LogicalName='{table}'){path}");
            // Of a table that is not there, the check tells.
            let Some(bytes) = environment.get(&path).await? else {
                break;
            };
            documents.push(serde_json::from_slice(&bytes)?);
        }
    }
    Ok(documents)
}
