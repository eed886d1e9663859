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
    /// From the API's root, encoded, e.g. `accounts(…)?tag=…`.
    pub(in crate::dataverse) path: String,
    pub(in crate::dataverse) etag: String,
    pub(in crate::dataverse) columns: Map<String, Value>,
    pub(in crate::dataverse) correlation: String,
}

/// Dataverse takes a thousand operations in a batch; their execution time is a limit long before.
pub(super) const MOST: usize = 200;

pub(super) struct Writes(pub(super) DataverseClient);

const STAGE: Stage = Stage::Acknowledge;

impl WriteAsk {
    fn asked(&self) -> String {
        asked(&Method::PATCH, &self.path)
    }

    /// What a refusal means for this row.
    fn refused(&self, error: &ServiceError) -> Result<AckWrite, Failure> {
        if error.is_conflict() {
            Ok(AckWrite::Conflict)
        } else if error.is_row_gone() {
            Ok(AckWrite::Gone)
        } else {
            Err(classify(error, STAGE, &self.asked()))
        }
    }
}

#[async_trait]
impl Pages for Writes {
    type Ask = WriteAsk;
    type Answer = AckWrite;
    type Ticket = Permit;

    async fn admit(&self) -> Result<Permit, Failure> {
        // Only the kind and the stage matter here.
        let request = Request::new(STAGE, Method::POST, "", "");
        self.0.admit(&request).await
    }

    async fn call(
        &self,
        permit: Permit,
        asks: &[WriteAsk],
    ) -> Result<Vec<Result<AckWrite, Failure>>, PageFailure> {
        match asks {
            [ask] => Ok(vec![self.one(permit, ask).await]),
            asks => self.many(permit, asks).await,
        }
    }
}

impl Writes {
    async fn one(&self, permit: Permit, ask: &WriteAsk) -> Result<AckWrite, Failure> {
        let columns = Value::Object(ask.columns.clone());
        let request = Request::new(STAGE, Method::PATCH, &ask.path, &ask.correlation)
            .on_condition(Precondition::Unchanged(&ask.etag))
            .json(&columns);
        let (answer, permit) = self.0.send_with(permit, &request).await?;
        permit.end(lesson(&answer));
        match answer {
            Ok(_) => Ok(AckWrite::Written),
            Err(e) => ask.refused(&e),
        }
    }

    async fn many(
        &self,
        permit: Permit,
        asks: &[WriteAsk],
    ) -> Result<Vec<Result<AckWrite, Failure>>, PageFailure> {
        let operations: Vec<_> = asks
            .iter()
            .map(|ask| Operation {
                method: Method::PATCH,
                url: format!("{}{}", self.0.root(), ask.path),
                precondition: Some(Precondition::Unchanged(&ask.etag)),
                body: Some(Value::Object(ask.columns.clone())),
            })
            .collect();
        let (content_type, bytes) = batch::write(&operations, Uuid::new_v4());
        let correlation = asks.first().map_or("", |ask| ask.correlation.as_str());
        let request = Request {
            body: Body::Batch {
                content_type,
                bytes,
            },
            prefer: Some("odata.continue-on-error"),
            ..Request::new(STAGE, Method::POST, "$batch", correlation)
        };
        let answers = self.0.batch_with(permit, request).await?;
        let mut answers = answers.into_iter();
        let result = |ask: &WriteAsk| match answers.next() {
            Some(Answer::Good(_)) => Ok(AckWrite::Written),
            Some(Answer::Refused(e)) => ask.refused(&e),
            // It may have been written; the next try meets a conflict then, and reads again.
            Some(Answer::Odd) | None => Err(bad_answer(STAGE, &ask.asked())),
        };
        Ok(asks.iter().map(result).collect())
    }
}
