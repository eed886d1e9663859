//! `$batch`: many operations in one request, each answered on its own.
//!
//! Wire format: Power Apps docs, "Execute batch operations using the Web API". Lines end in CRLF
//! everywhere, the end included, or Dataverse cannot read the stream. No change sets: they succeed or
//! fail as one.

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use serde_json::Value;
use uuid::Uuid;

use super::answer::ServiceError;
use super::client::{DataverseClient, lesson};
use super::identities::{Lesson, Permit};
use super::merge::PageFailure;
use super::request::{Precondition, Request, bad_answer};
use crate::failure::Failure;

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation<'a> {
    pub(super) method: Method,
    /// From the server's root, encoded, e.g. `/api/data/v9.2/accounts(…)`.
    pub(super) url: String,
    pub(super) precondition: Option<Precondition<'a>>,
    pub(super) body: Option<Value>,
}

/// Writes a batch: its content type and body.
pub(super) fn write(operations: &[Operation<'_>], id: Uuid) -> (String, Bytes) {
    let boundary = format!("batch_{}", id.simple());
    let mut text = String::new();
    let mut line = |parts: &[&str]| {
        parts.iter().for_each(|part| text.push_str(part));
        text.push_str("\r\n");
    };
    for operation in operations {
        line(&["--", &boundary]);
        line(&["Content-Type: application/http"]);
        line(&["Content-Transfer-Encoding: binary"]);
        line(&[]);
        line(&[operation.method.as_str(), " ", &operation.url, " HTTP/1.1"]);
        line(&["Accept: application/json"]);
        if let Some(condition) = &operation.precondition {
            line(&["If-Match: ", condition.if_match()]);
        }
        match &operation.body {
            Some(body) => {
                line(&["Content-Type: application/json"]);
                line(&[]);
                line(&[&body.to_string()]);
            }
            None => {
                line(&[]);
                line(&[]);
            }
        }
    }
    line(&["--", &boundary, "--"]);
    let content_type = format!("multipart/mixed; boundary=\"{boundary}\"");
    (content_type, text.into())
}

/// The answer to one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done, with what was asked for.
    Good(Bytes),
    /// Refused.
    Refused(ServiceError),
    /// Not readable.
    Odd,
}

/// Takes the answer of a batch apart, one answer per operation, in order. Operations without an answer
/// are missing at the end. `None` when it is no batch answer at all.
pub(super) async fn read(content_type: &str, body: Bytes) -> Option<Vec<Answer>> {
    let kind: mime::Mime = content_type.parse().ok()?;
    if kind.type_() != mime::MULTIPART {
        return None;
    }
    let boundary = kind.get_param(mime::BOUNDARY)?.as_str().to_owned();
    let whole = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut answers = Vec::new();
    // A body that breaks off gives what came before.
    while let Ok(Some(part)) = parts.next_field().await {
        match part.bytes().await {
            Ok(content) => answers.push(answer(&content)),
            Err(_) => break,
        }
    }
    Some(answers)
}

/// Reads one `application/http` part.
fn answer(content: &[u8]) -> Answer {
    // An answer without a body may end with its last header.
    let ended = [content, b"\r\n\r\n"].concat();
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let (Ok(httparse::Status::Complete(head)), Some(status)) =
        (response.parse(&ended), response.code)
    else {
        return Answer::Odd;
    };
    let body = content.get(head..).unwrap_or_default();
    if (200..300).contains(&status) {
        return Answer::Good(Bytes::copy_from_slice(body));
    }
    let all = |wanted: &'static str| {
        response
            .headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(wanted))
            .filter_map(|header| std::str::from_utf8(header.value).ok())
    };
    let ids = ["x-ms-service-request-id", "req_id"];
    let ids = ids.into_iter().flat_map(all).filter(|id| id.len() <= 64);
    let ids = ids.map(str::to_owned).collect();
    Answer::Refused(ServiceError::read(
        status,
        all("retry-after").next(),
        ids,
        body,
    ))
}

impl DataverseClient {
    /// Sends a batch and takes its answer apart.
    pub(super) async fn batch(&self, request: Request<'_>) -> Result<Vec<Answer>, Failure> {
        let permit = self.admit(&request).await?;
        let answers = self.batch_with(permit, request).await;
        answers.map_err(|e| e.failure)
    }

    /// [`Self::batch`] with a permit in hand. A throttle of a single operation is one of its identity,
    /// too.
    pub(super) async fn batch_with(
        &self,
        permit: Permit,
        request: Request<'_>,
    ) -> Result<Vec<Answer>, PageFailure> {
        let (stage, asked) = (request.stage, request.asked());
        let sent = self.send_with(permit, &request).await;
        let (answer, permit) = sent.map_err(PageFailure::of_all)?;
        let learned = lesson(&answer);
        let good = match answer {
            Ok(good) => good,
            Err(e) => {
                permit.end(learned);
                return Err(PageFailure::refused(&e, stage, &asked));
            }
        };
        let content_type = good.headers.get("content-type");
        let content_type = content_type.and_then(|v| v.to_str().ok());
        let answers = read(content_type.unwrap_or_default(), good.body).await;
        let throttles = answers.iter().flatten().filter_map(|answer| match answer {
            Answer::Refused(e) => e.throttle(),
            _ => None,
        });
        permit.end(
            match throttles.max_by_key(|(_, retry_after)| *retry_after) {
                Some((limit, retry_after)) => Lesson::Throttled { limit, retry_after },
                None => learned,
            },
        );
        answers.ok_or_else(|| PageFailure::of_all(bad_answer(stage, &asked)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_looks_as_documented() {
        let operations = [
            Operation {
                method: Method::PATCH,
                url: "/api/data/v9.2/accounts(6d81597f-0f9f-e711-8122-000d3aa2331c)?tag=t".into(),
                precondition: Some(Precondition::Unchanged("W/\"502186\"")),
                body: Some(json!({"dvs_ackstate": 1})),
            },
            Operation {
                method: Method::GET,
                url: "/api/data/v9.2/accounts(6d81597f-0f9f-e711-8122-000d3aa2331c)".into(),
                precondition: None,
                body: None,
            },
        ];
        let (content_type, body) = write(&operations, Uuid::nil());
        assert_eq!(
            content_type,
            "multipart/mixed; boundary=\"batch_00000000000000000000000000000000\""
        );
        let golden = include_str!("golden/batch_request.txt").replace('\n', "\r\n");
        assert_eq!(std::str::from_utf8(&body).unwrap(), golden);
    }

    fn golden_answer() -> Bytes {
        include_str!("golden/batch_answer.txt")
            .replace('\n', "\r\n")
            .into()
    }

    const CONTENT_TYPE: &str =
        "multipart/mixed; boundary=batchresponse_aa1c1a3c-59a4-4d0a-a9bd-a5e4a2b1c9d8";

    #[tokio::test]
    async fn every_operation_has_its_own_answer_in_order() {
        let answers = read(CONTENT_TYPE, golden_answer()).await.unwrap();
        assert_eq!(answers.len(), 4);
        assert_eq!(answers[0], Answer::Good(Bytes::new()));
        let refused = |answer: &Answer| match answer {
            Answer::Refused(e) => e.clone(),
            other => panic!("{other:?}"),
        };
        assert!(refused(&answers[1]).is_conflict());
        let throttled = refused(&answers[2]);
        assert_eq!(throttled.request_ids, ["0b3c"]);
        assert_eq!(
            throttled.retry_after,
            Some(std::time::Duration::from_secs(37))
        );
        match &answers[3] {
            Answer::Good(body) => {
                let row: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(row["name"], "A. Datum");
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_no_batch_answer_is_none_and_a_cut_one_lacks_its_end() {
        assert_eq!(read("application/json", Bytes::new()).await, None);
        assert_eq!(read("multipart/mixed", Bytes::new()).await, None);
        let whole = golden_answer();
        for cut in 0..whole.len() {
            let answers = read(CONTENT_TYPE, whole.slice(..cut)).await.unwrap();
            assert!(answers.len() <= 4);
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic_or_hang(
            kind in "(multipart/mixed; boundary=b|[ -~]{0,40})",
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..400),
                "(--b\r\n|--b--|--b|HTTP/1.1 [0-9]{1,5} ?|Retry-After: [0-9a-z]{0,9}|: |\r\n|\r|\n|\\{\"error\":|[ -~]{0,9}){0,40}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { read(&kind, body.into()).await });
        }
    }
}
