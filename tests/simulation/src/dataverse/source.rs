//! The reads of the outbound side.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use sync_core::config::TableConfig;
use sync_core::failure::{Failure, Stage};
use sync_core::ports::Source;
use sync_core::snapshot::{Latest, RowVersion, Snapshot};
use uuid::Uuid;

use super::answer::call;
use crate::life::Life;

/// Dataverse's rows, as one instance reads them.
pub(crate) struct SimSource {
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl Source for SimSource {
    async fn latest(&self, table: &TableConfig, row: Uuid, _: &str) -> Result<Latest, Failure> {
        let number = self.life.world.lock().number(row);
        let (ack_version, life) = (table.ack.version.clone(), Arc::clone(&self.life));
        let read = call(&self.life, number, Stage::Fetch, "GET row", move |s| {
            let number = number?;
            let found = s.dataverse.rows.get(&number).map(|row| Snapshot {
                version: RowVersion(row.version),
                acknowledged: version(row.ack.get(&ack_version)),
                columns: s.dataverse.columns(number, row),
            });
            let seen = found.as_ref().map(|f| f.version.0);
            s.note(
                Some(number),
                match seen {
                    Some(v) => format!(
                        "{} reads v{v} ({})",
                        life.name, s.dataverse.rows[&number].letter
                    ),
                    None => format!("{} reads: gone", life.name),
                },
            );
            found
        });
        let found = read.await?;
        if let Some(number) = number {
            self.life.world.lock().watch.fetched(&self.life, number);
        }
        Ok(found.map_or(Latest::Gone, Latest::Row))
    }

    async fn version(
        &self,
        _: &TableConfig,
        row: Uuid,
        _: &str,
    ) -> Result<Option<RowVersion>, Failure> {
        let number = self.life.world.lock().number(row);
        let life = Arc::clone(&self.life);
        let looked = call(&self.life, number, Stage::Fetch, "GET version", move |s| {
            let found = s
                .dataverse
                .rows
                .get(&number?)
                .map(|row| RowVersion(row.version));
            let seen = found.map_or_else(|| "gone".to_owned(), |v| format!("v{v}"));
            s.note(number, format!("{} looks: {seen}", life.name));
            found
        });
        looked.await
    }
}

pub(super) fn version(value: Option<&Value>) -> Option<RowVersion> {
    value?.as_str()?.parse().ok()
}
