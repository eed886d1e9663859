//! Pages of conditional writes: one batch, in which each row succeeds or fails on its own.

use async_trait::async_trait;
use http::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::answer::ServiceError;
use super::super::batch::{self, Answer, Operation};
use super::super::classify::classify;
use super::super::client::{DataverseClient, lesson};
use super::super::identities::Permit;
use super::super::request::{Body, Precondition, Request, asked, bad_answer};
use super::{PageFailure, Pages};
use crate::failure::{Failure, Stage};
use crate::ports::AckWrite;

/// One conditional write. Rows of several tables may share a batch.
#[derive(Debug, Clone)]
pub(in crate::dataverse) struct WriteAsk {
    /// Of the pass that writes.
    pub(in crate::dataverse) stage: Stage,
    /// From the API's root, encoded, e.g. `accounts(…)?tag=…`.
    pub(in crate::dataverse) path: String,
    pub(in crate::dataverse) etag: String,
    pub(in crate::dataverse) write: Write,
    pub(in crate::dataverse) correlation: String,
}

/// What is done to the row.
#[derive(Debug, Clone)]
pub(in crate::dataverse) enum Write {
    /// These columns change.
    Columns(Map<String, Value>),
    /// It goes.
    Delete,
}

/// Dataverse takes a thousand operations in a batch; their execution time is a limit long before.
pub(super) const MOST: usize = 200;

pub(super) struct Writes(pub(super) DataverseClient);

impl WriteAsk {
    fn method(&self) -> Method {
        match self.write {
            Write::Columns(_) => Method::PATCH,
            Write::Delete => Method::DELETE,
        }
    }

    fn body(&self) -> Option<Value> {
        match &self.write {
            Write::Columns(columns) => Some(Value::Object(columns.clone())),
            Write::Delete => None,
        }
    }

    fn asked(&self) -> String {
        asked(&self.method(), &self.path)
    }

    /// Makes this write alone, without waiting for company.
    pub(in crate::dataverse) async fn alone(
        &self,
        client: &DataverseClient,
    ) -> Result<AckWrite, Failure> {
        // Only the kind and the stage matter here.
        let request = Request::new(self.stage, self.method(), "", "");
        let permit = client.admit(&request).await?;
        self.with(client, permit).await
    }

    async fn with(&self, client: &DataverseClient, permit: Permit) -> Result<AckWrite, Failure> {
        let body = self.body();
        let request = Request::new(self.stage, self.method(), &self.path, &self.correlation)
            .on_condition(Precondition::Unchanged(&self.etag));
        let request = match &body {
            Some(columns) => request.json(columns),
            None => request,
        };
        let (answer, permit) = client.send_with(permit, &request).await?;
        permit.end(lesson(&answer));
        match answer {
            Ok(_) => Ok(AckWrite::Written),
            Err(e) => self.refused(&e),
        }
    }

    /// What a refusal means for this row.
    fn refused(&self, error: &ServiceError) -> Result<AckWrite, Failure> {
        if error.is_conflict() {
            Ok(AckWrite::Conflict)
        } else if error.is_row_gone() {
            Ok(AckWrite::Gone)
        } else {
            Err(classify(error, self.stage, &self.asked()))
        }
    }
}

#[async_trait]
impl Pages for Writes {
    type Ask = WriteAsk;
    type Answer = AckWrite;
    type Ticket = Permit;

    fn kind(&self) -> &'static str {
        "write"
    }

    async fn admit(&self) -> Result<Permit, Failure> {
        // Only the kind matters here: a page may be of several stages.
        let request = Request::new(Stage::Acknowledge, Method::POST, "", "");
        self.0.admit(&request).await
    }

    async fn call(
        &self,
        permit: Permit,
        asks: &[WriteAsk],
    ) -> Result<Vec<Result<AckWrite, Failure>>, PageFailure> {
        match asks {
            [ask] => Ok(vec![ask.with(&self.0, permit).await]),
            asks => self.many(permit, asks).await,
        }
    }
}

impl Writes {
    async fn many(
        &self,
        permit: Permit,
        asks: &[WriteAsk],
    ) -> Result<Vec<Result<AckWrite, Failure>>, PageFailure> {
        let operations: Vec<_> = asks
            .iter()
            .map(|ask| Operation {
                method: ask.method(),
                url: format!("{}{}", self.0.root(), ask.path),
                precondition: Some(Precondition::Unchanged(&ask.etag)),
                body: ask.body(),
            })
            .collect();
        let (content_type, bytes) = batch::write(&operations, Uuid::new_v4());
        let first = asks.first();
        let correlation = first.map_or("", |ask| ask.correlation.as_str());
        let stage = first.map_or(Stage::Acknowledge, |ask| ask.stage);
        let request = Request {
            body: Body::Batch {
                content_type,
                bytes,
            },
            prefer: Some("odata.continue-on-error"),
            ..Request::new(stage, Method::POST, "$batch", correlation)
        };
        let answers = self.0.batch_with(permit, request).await?;
        let mut answers = answers.into_iter();
        let result = |ask: &WriteAsk| match answers.next() {
            Some(Answer::Good(_)) => Ok(AckWrite::Written),
            Some(Answer::Refused(e)) => ask.refused(&e),
            // It may have been written; the next try meets a conflict then, and reads again.
            Some(Answer::Odd) | None => Err(bad_answer(ask.stage, &ask.asked())),
        };
        Ok(asks.iter().map(result).collect())
    }
}
