//! The row to preview: from a file, or from Dataverse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use sync_core::config::TableConfig;
use sync_core::mapping;
use uuid::Uuid;

use crate::dataverse::Environment;

/// A row, as the Web API answers it.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) columns: Map<String, Value>,
}

/// Reads a saved answer of the Web API.
pub(super) fn from_file(path: &Path, table: &TableConfig, id: Option<Uuid>) -> anyhow::Result<Row> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let columns = mapping::read_row(&bytes).with_context(|| format!("{name} is no row"))?;
    let own = columns.get(&table.primary_key).and_then(Value::as_str);
    let id = match (id, own.map(Uuid::parse_str)) {
        (Some(id), _) | (None, Some(Ok(id))) => id,
        _ => bail!(
            "{name} has no {}; give the row's id with --id",
            table.primary_key
        ),
    };
    Ok(Row { id, columns })
}

/// Reads a row with what its table's mapping reads, and the hash that was acknowledged. `others` are
/// mappings that it is compared under.
pub(super) async fn from_dataverse(
    address: &str,
    table: &TableConfig,
    others: &[&TableConfig],
    id: Uuid,
) -> anyhow::Result<Row> {
    let all = || others.iter().copied().chain([table]);
    let mut columns: Vec<&str> = all().flat_map(TableConfig::select).collect();
    columns.extend([table.primary_key.as_str(), &table.ack.payload_hash]);
    columns.sort_unstable();
    columns.dedup();
    let mut expand: Vec<String> = Vec::new();
    let mut lookups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (navigation, columns) in all().flat_map(TableConfig::expand) {
        lookups.entry(navigation).or_default().extend(columns);
    }
    for (navigation, columns) in lookups {
        let columns = columns.into_iter().collect::<Vec<_>>().join(",");
        expand.push(format!("{navigation}($select={columns})"));
    }
    let expand = if expand.is_empty() {
        String::new()
    } else {
        format!("&$expand={}", expand.join(","))
    };
    let path = format!(
        "{}({id})?$select={}{expand}",
        table.entity_set,
        columns.join(",")
    );
    let environment = Environment::sign_in(address).await?;
    let Some(bytes) = environment.get(&path).await? else {
        bail!("{address} has no {} {id}", table.name);
    };
    Ok(Row {
        id,
        columns: mapping::read_row(&bytes)?,
    })
}
