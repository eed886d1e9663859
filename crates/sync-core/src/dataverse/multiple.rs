//! `UpdateMultiple`: many rows in one transaction, for marking in bulk where nothing races.
//!
//! Wire format: Power Apps docs, "Use bulk operation messages". One bad row undoes the whole call, so a
//! call that fails is made again in halves.

use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};

use super::client::{DataverseClient, lesson};
use super::identities::Permit;
use super::merge::{PageFailure, Pages, ask_all};
use super::query::Columns;
use super::request::Request;
use crate::failure::{Failure, Stage};

/// Rows per call to begin with: the documented start for standard tables.
const ROWS: usize = 100;

impl DataverseClient {
    /// Updates rows of one table without any condition; each needs its primary key among its columns.
    /// Answers by position. A row that does not exist fails and is not created.
    pub async fn update_multiple(
        &self,
        logical_name: &str,
        entity_set: &str,
        rows: Vec<Columns>,
        correlation: &str,
    ) -> Vec<Result<(), Failure>> {
        let updates = Updates {
            client: self,
            path: format!("{entity_set}/Microsoft.Dynamics.CRM.UpdateMultiple"),
            kind: format!("Microsoft.Dynamics.CRM.{logical_name}"),
            correlation,
        };
        let mut results = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            match updates.admit().await {
                Ok(permit) => results.extend(ask_all(&updates, permit, rows).await.0),
                Err(failure) => results.extend(rows.iter().map(|_| Err(failure.clone()))),
            }
        }
        results
    }
}

struct Updates<'a> {
    client: &'a DataverseClient,
    path: String,
    kind: String,
    correlation: &'a str,
}

impl Updates<'_> {
    fn request(&self) -> Request<'_> {
        Request::new(
            Stage::Acknowledge,
            Method::POST,
            &self.path,
            self.correlation,
        )
    }
}

#[async_trait]
impl Pages for Updates<'_> {
    type Ask = Columns;
    type Answer = ();
    type Ticket = Permit;

    fn kind(&self) -> &'static str {
        "write"
    }

    async fn admit(&self) -> Result<Permit, Failure> {
        self.client.admit(&self.request()).await
    }

    async fn call(
        &self,
        permit: Permit,
        rows: &[Columns],
    ) -> Result<Vec<Result<(), Failure>>, PageFailure> {
        let target = |row: &Columns| {
            let mut target = row.clone();
            target.insert("@odata.type".to_owned(), json!(self.kind));
            Value::Object(target)
        };
        let targets: Vec<Value> = rows.iter().map(target).collect();
        let body = json!({ "Targets": targets });
        let request = self.request().json(&body);
        let (answer, permit) = self
            .client
            .send_with(permit, &request)
            .await
            .map_err(PageFailure::of_all)?;
        permit.end(lesson(&answer));
        match answer {
            Ok(_) => Ok(rows.iter().map(|_| Ok(())).collect()),
            Err(e) => {
                let failure = PageFailure::refused(&e, Stage::Acknowledge, &request.asked());
                Err(PageFailure {
                    // One row that is gone undid the others, too.
                    divisible: failure.divisible || e.is_row_gone(),
                    ..failure
                })
            }
        }
    }
}
