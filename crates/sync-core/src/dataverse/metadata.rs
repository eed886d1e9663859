//! A table's names by its logical one. Plural names cannot be derived, so they are looked up, once.
//!
//! Wire format: Power Apps docs, "Query table definitions using the Web API".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::OnceCell;

use super::client::DataverseClient;
use super::request::{Request, bad_answer};
use crate::failure::{Failure, Stage};

/// What the integration has to know of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TableNames {
    /// E.g. `account`.
    pub logical_name: String,
    /// E.g. `accounts`.
    pub entity_set_name: String,
    /// E.g. `accountid`.
    pub primary_id_attribute: String,
    /// Whether conditional writes work, which acknowledgements rely on.
    pub is_optimistic_concurrency_enabled: bool,
    /// Whether changes are tracked.
    pub change_tracking_enabled: bool,
}

/// Names that were looked up, or are being looked up, by logical name.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Arc<OnceCell<TableNames>>>>);

impl DataverseClient {
    /// The names of the table called `logical_name`. However many ask, it is looked up once; a failure
    /// is not remembered.
    ///
    /// # Errors
    /// A refusal (of class `Config` for a table that does not exist), or no answer.
    pub async fn table_names(&self, logical_name: &str) -> Result<TableNames, Failure> {
        let known = {
            let mut known = self
                .known()
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(logical_name.to_owned()).or_default())
        };
        let names = known.get_or_try_init(|| self.look_up(logical_name));
        names.await.cloned()
    }

    async fn look_up(&self, logical_name: &str) -> Result<TableNames, Failure> {
        let name = logical_name.replace('\'', "''");
        let path = format!(
            "EntityDefinitions(LogicalName='{name}')?$select=LogicalName,EntitySetName,\
             PrimaryIdAttribute,IsOptimisticConcurrencyEnabled,ChangeTrackingEnabled"
        );
        let request = Request::get(Stage::Fetch, &path, "metadata");
        let asked = request.asked();
        let good = self.expect(request).await?;
        serde_json::from_slice(&good.body).map_err(|_| bad_answer(Stage::Fetch, &asked))
    }
}
