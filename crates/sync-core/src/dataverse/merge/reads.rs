//! Pages of reads: one query for many rows of one table.

use std::collections::HashMap;

use async_trait::async_trait;
use http::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::batch::{self, Answer, Operation};
use super::super::classify::classify;
use super::super::client::{DataverseClient, lesson};
use super::super::identities::{Kind, Permit};
use super::super::request::{Body, Request, bad_answer};
use super::{PageFailure, Pages};
use crate::failure::{Failure, Stage};

/// Reads that fit together: the same columns of the same table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::dataverse) struct ReadPages {
    pub(in crate::dataverse) stage: Stage,
    pub(in crate::dataverse) entity_set: String,
    pub(in crate::dataverse) primary_key: String,
    /// The query's options but the filter: `$select=…`, with `&$expand=…` where needed.
    pub(in crate::dataverse) options: String,
    /// Whether a row that is absent from a query's answer is asked for by its id. A query leaves out
    /// what the identity may not read; only a 404 by id tells that a row does not exist, and on that
    /// word the target's row is deleted.
    pub(in crate::dataverse) confirm_absence: bool,
}

/// One row.
#[derive(Debug, Clone)]
pub(in crate::dataverse) struct ReadAsk {
    pub(in crate::dataverse) row: Uuid,
    pub(in crate::dataverse) correlation: String,
}

type Row = Option<Map<String, Value>>;

/// Addresses stay well below Dataverse's 32 KB: proxies on the way often end at 8.
const LONGEST_ADDRESS: usize = 8_000;
/// What a row id takes in an address: `'…',`, with its quotes encoded.
const ID: usize = 36 + 2 * 3 + 1;

impl ReadPages {
    pub(super) fn most_rows(&self, root: &str) -> usize {
        const FIXED: usize = 120;
        let fixed = root.len()
            + self.entity_set.len()
            + self.options.len()
            + self.primary_key.len()
            + FIXED;
        (LONGEST_ADDRESS.saturating_sub(fixed) / ID).max(1)
    }

    /// The address of one row.
    pub(in crate::dataverse) fn single(&self, row: Uuid) -> String {
        format!("{}({row})?{}", self.entity_set, self.options)
    }

    /// The address of many.
    fn many(&self, rows: &[Uuid]) -> String {
        let ids: Vec<String> = rows.iter().map(|row| format!("'{row}'")).collect();
        format!(
            "{}?{}&$filter=Microsoft.Dynamics.CRM.In(PropertyName='{}',PropertyValues=[{}])",
            self.entity_set,
            self.options,
            self.primary_key,
            ids.join(",")
        )
    }
}

pub(super) struct Reads {
    pub(super) client: DataverseClient,
    pub(super) pages: ReadPages,
}

#[async_trait]
impl Pages for Reads {
    type Ask = ReadAsk;
    type Answer = Row;
    type Ticket = Permit;

    fn kind(&self) -> &'static str {
        "read"
    }

    async fn admit(&self) -> Result<Permit, Failure> {
        // Only the kind and the stage matter here.
        let request = Request::get(self.pages.stage, "", "");
        self.client.admit(&request).await
    }

    async fn call(
        &self,
        permit: Permit,
        asks: &[ReadAsk],
    ) -> Result<Vec<Result<Row, Failure>>, PageFailure> {
        let mut rows: Vec<Uuid> = asks.iter().map(|ask| ask.row).collect();
        rows.sort_unstable();
        rows.dedup();
        let correlation = asks.first().map_or("", |ask| ask.correlation.as_str());
        let found = match rows.as_slice() {
            [row] => HashMap::from([(*row, Ok(self.one(permit, *row, correlation).await?))]),
            rows => self.many(permit, rows, correlation).await?,
        };
        let answer = |ask: &ReadAsk| found.get(&ask.row).cloned().unwrap_or(Ok(None));
        Ok(asks.iter().map(answer).collect())
    }
}

impl Reads {
    async fn one(&self, permit: Permit, row: Uuid, correlation: &str) -> Result<Row, PageFailure> {
        let path = self.pages.single(row);
        let request = Request::get(self.pages.stage, &path, correlation);
        let (answer, permit) = self
            .client
            .send_with(permit, &request)
            .await
            .map_err(PageFailure::of_all)?;
        permit.end(lesson(&answer));
        let (stage, asked) = (self.pages.stage, request.asked());
        match answer {
            Ok(good) => match good.json(stage, &asked) {
                Ok(Value::Object(columns)) => Ok(Some(columns)),
                _ => Err(PageFailure::of_all(bad_answer(stage, &asked))),
            },
            Err(e) if e.is_row_gone() => Ok(None),
            Err(e) => Err(PageFailure::refused(&e, stage, &asked)),
        }
    }

    async fn many(
        &self,
        permit: Permit,
        rows: &[Uuid],
        correlation: &str,
    ) -> Result<HashMap<Uuid, Result<Row, Failure>>, PageFailure> {
        let stage = self.pages.stage;
        let path = self.pages.many(rows);
        let request = Request::get(stage, &path, correlation);
        let (answer, permit) = self
            .client
            .send_with(permit, &request)
            .await
            .map_err(PageFailure::of_all)?;
        permit.end(lesson(&answer));
        let asked = request.asked();
        let good = answer.map_err(|e| PageFailure::refused(&e, stage, &asked))?;
        let body = good.json(stage, &asked).map_err(PageFailure::of_all)?;
        let Some(found) = read(body, &self.pages.primary_key) else {
            return Err(PageFailure::of_all(bad_answer(stage, &asked)));
        };
        let mut found: HashMap<_, _> = found
            .into_iter()
            .map(|(row, columns)| (row, Ok(Some(columns))))
            .collect();
        let absent: Vec<Uuid> = rows
            .iter()
            .filter(|row| !found.contains_key(row))
            .copied()
            .collect();
        if self.pages.confirm_absence && !absent.is_empty() {
            found.extend(self.confirm(&absent, correlation).await);
        }
        Ok(found)
    }

    /// Asks for rows by id, in one batch. Rows without an answer fail.
    async fn confirm(&self, rows: &[Uuid], correlation: &str) -> Vec<(Uuid, Result<Row, Failure>)> {
        let answers = match self.by_id(rows, correlation).await {
            Ok(answers) => answers,
            Err(failure) => {
                return rows
                    .iter()
                    .map(|row| (*row, Err(failure.clone())))
                    .collect();
            }
        };
        let mut answers = answers.into_iter();
        let stage = self.pages.stage;
        rows.iter()
            .map(|row| {
                let asked = format!("GET {}({row})", self.pages.entity_set);
                let read = match answers.next() {
                    Some(Answer::Good(body)) => match crate::exact::from_slice(&body) {
                        Ok(Value::Object(columns)) => Ok(Some(columns)),
                        _ => Err(bad_answer(stage, &asked)),
                    },
                    Some(Answer::Refused(e)) if e.is_row_gone() => Ok(None),
                    Some(Answer::Refused(e)) => Err(classify(&e, stage, &asked)),
                    Some(Answer::Odd) | None => Err(bad_answer(stage, &asked)),
                };
                (*row, read)
            })
            .collect()
    }

    async fn by_id(&self, rows: &[Uuid], correlation: &str) -> Result<Vec<Answer>, Failure> {
        let stage = self.pages.stage;
        let operation = |row: &Uuid| Operation {
            method: Method::GET,
            url: format!("{}{}", self.client.root(), self.pages.single(*row)),
            precondition: None,
            body: None,
        };
        let operations: Vec<_> = rows.iter().map(operation).collect();
        let (content_type, bytes) = batch::write(&operations, Uuid::new_v4());
        let request = Request {
            body: Body::Batch {
                content_type,
                bytes,
            },
            prefer: Some("odata.continue-on-error"),
            kind: Kind::Read,
            ..Request::new(stage, Method::POST, "$batch", correlation)
        };
        self.client.batch(request).await
    }
}

/// The rows of a query's answer by id; `None` when that is not what it is.
pub(in crate::dataverse) fn read(
    body: Value,
    primary_key: &str,
) -> Option<Vec<(Uuid, Map<String, Value>)>> {
    let Value::Object(mut body) = body else {
        return None;
    };
    let Some(Value::Array(rows)) = body.remove("value") else {
        return None;
    };
    // More pages would mean that rows are missing from this one.
    if body.contains_key("@odata.nextLink") {
        return None;
    }
    let row = |row: Value| match row {
        Value::Object(columns) => {
            let id = columns.get(primary_key)?.as_str()?;
            Some((Uuid::parse_str(id).ok()?, columns))
        }
        _ => None,
    };
    rows.into_iter().map(row).collect()
}
