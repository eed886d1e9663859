//! `$batch`: many operations in one request, in order; change sets all or nothing.

use std::collections::HashMap;

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::dispatch::{refused, run, run_in};
use super::message::{ApiRequest, ApiResponse};
use super::mishap::{scripted, throttled};
use super::multipart::{Part, Writer, boundary, parts, request};
use super::{Context, LONGEST_URL, Side, odata_version};
use crate::dataverse::State;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::paging::preferences;
use crate::dataverse::script::{Script, ScriptedAnswer};
use crate::dataverse::transaction::Transaction;

const MOST_OPERATIONS: usize = 1000;

/// One top-level item of a batch.
enum Item {
    Single(ApiRequest),
    /// Content id and request of each write.
    ChangeSet(Vec<(String, ApiRequest)>),
}

fn operations_in(items: &[Item]) -> usize {
    items
        .iter()
        .map(|item| match item {
            Item::Single(_) => 1,
            Item::ChangeSet(writes) => writes.len(),
        })
        .sum()
}

/// Answers a batch.
pub(super) fn answer(state: &State, context: &Context, batch: &ApiRequest) -> ApiResponse {
    let items = match read(batch) {
        Ok(items) => items,
        Err(error) => return refused(batch, &error),
    };
    let operations = operations_in(&items);
    if operations > MOST_OPERATIONS {
        let message =
            format!("The batch has {operations} operations; {MOST_OPERATIONS} are allowed.");
        return refused(batch, &ApiError::bad_request(message));
    }
    state
        .inner()
        .count_batch_operations(context.side, operations);
    let go_on = preferences(&batch.headers).into_iter().any(|preference| {
        matches!(
            preference,
            "odata.continue-on-error" | "continue-on-error" | "odata.continue-on-error=true"
        )
    });
    let mut writer = Writer::new("batchresponse");
    let mut status = StatusCode::OK;
    for item in items {
        let failed = match item {
            Item::Single(request) => {
                let answer = single(state, context, &request);
                writer.add(None, &answer);
                failure(&answer)
            }
            Item::ChangeSet(writes) => {
                let answers = change_set(state, context, &writes);
                let mut inner = Writer::new("changesetresponse");
                for (content_id, answer) in &answers {
                    inner.add(Some(content_id), answer);
                }
                writer.nest(inner);
                answers.iter().find_map(|(_, answer)| failure(answer))
            }
        };
        if let (Some(failed), false) = (failed, go_on) {
            status = failed;
            break;
        }
    }
    let content_type = writer.content_type();
    let answer = ApiResponse::empty(status).with_body(&content_type, writer.finish());
    odata_version(answer)
}

fn failure(answer: &ApiResponse) -> Option<StatusCode> {
    let failed = answer.status.is_client_error() || answer.status.is_server_error();
    failed.then_some(answer.status)
}

fn single(state: &State, context: &Context, request: &ApiRequest) -> ApiResponse {
    if let Some(throttle) = throttle(state, context) {
        return throttle;
    }
    let script = state.inner().scripted(
        context.side,
        request.method.as_str(),
        &request.relative_url(),
        true,
    );
    let Some((script, answer)) = script.and_then(with_answer) else {
        return run(state, context, request);
    };
    if script.after_commit {
        run(state, context, request);
    }
    odata_version(scripted(&answer, state.tenant))
}

fn with_answer(script: Script) -> Option<(Script, ScriptedAnswer)> {
    let answer = script.answer()?;
    Some((script, answer))
}

/// A throttle may hit single operations of a batch, too.
fn throttle(state: &State, context: &Context) -> Option<ApiResponse> {
    if context.side == Side::User {
        return None;
    }
    let mut inner = state.inner();
    let throttle = inner.draw_part()?;
    Some(odata_version(throttled(
        throttle,
        inner.faults.retry_after_s,
    )))
}

/// Runs a change set in one transaction: every answer, or the one that undid it.
fn change_set(
    state: &State,
    context: &Context,
    writes: &[(String, ApiRequest)],
) -> Vec<(String, ApiResponse)> {
    let first_id = writes.first().map(|(id, _)| id.clone()).unwrap_or_default();
    if let Some(throttle) = throttle(state, context) {
        return vec![(first_id, throttle)];
    }
    let mut inner = state.inner();
    let inner = &mut *inner;
    for (content_id, request) in writes {
        let script = inner.scripted(
            context.side,
            request.method.as_str(),
            &request.relative_url(),
            true,
        );
        if let Some((_, answer)) = script.and_then(with_answer) {
            let answer = odata_version(scripted(&answer, state.tenant));
            return vec![(content_id.clone(), answer)];
        }
    }
    let mut transaction = Transaction::begin(&mut inner.store);
    let mut answers = Vec::new();
    // URLs of the rows written so far, by content id.
    let mut written = HashMap::new();
    for (content_id, request) in writes {
        let answer = resolve(request, &written)
            .and_then(|request| run_in(&mut transaction, state, context, &request));
        match answer {
            Ok(answer) => {
                let url = answer.headers.get("odata-entityid");
                if let Some(url) = url.and_then(|url| url.to_str().ok()) {
                    written.insert(content_id.clone(), url.to_owned());
                }
                answers.push((content_id.clone(), answer));
            }
            Err(error) => return vec![(content_id.clone(), refused(request, &error))],
        }
    }
    let effects = transaction.commit();
    state.committed(&mut inner.journal, effects);
    answers
}

/// Puts the URL of an earlier write in place of `$1`, as the URL or as a value to bind.
fn resolve(
    request: &ApiRequest,
    written: &HashMap<String, String>,
) -> Result<ApiRequest, ApiError> {
    let url_of = |reference: &str| {
        let known = written.get(reference.trim_start_matches('$'));
        known.cloned().ok_or_else(|| {
            ApiError::bad_request(format!(
                "Content-ID Reference: '{reference}' does not exist in the batch context."
            ))
        })
    };
    let mut request = request.clone();
    if let Some(id) = request.path.strip_prefix('$') {
        let (id, rest) = id.split_once('/').map_or((id, ""), |(id, rest)| (id, rest));
        let url = url_of(&format!("${id}"))?;
        let path = crate::dataverse::odata::path::below_root(&url).unwrap_or_default();
        request.path = match rest {
            "" => path.to_owned(),
            rest => format!("{path}/{rest}"),
        };
    }
    if let Ok(mut body) = request.object() {
        let mut replaced = false;
        for (name, value) in &mut body {
            let reference = value.as_str().filter(|text| text.starts_with('$'));
            if let (true, Some(reference)) = (name.ends_with("@odata.bind"), reference) {
                *value = json!(url_of(reference)?);
                replaced = true;
            }
        }
        if replaced {
            request.body = Value::Object(body).to_string().into();
        }
    }
    Ok(request)
}

fn read(batch: &ApiRequest) -> Result<Vec<Item>, ApiError> {
    if batch.method != Method::POST {
        return Err(ApiError::method_not_allowed(batch.method.as_str()));
    }
    let content_type = batch.header(header::CONTENT_TYPE.as_str());
    let Some(boundary) = content_type.and_then(boundary) else {
        return Err(ApiError::bad_request(
            "A batch must be multipart/mixed with a boundary.",
        ));
    };
    let parts = parts(&batch.body, boundary)?;
    parts.iter().map(item).collect()
}

fn item(part: &Part<'_>) -> Result<Item, ApiError> {
    let Some(boundary) = boundary(part.header("content-type")) else {
        return Ok(Item::Single(operation(part)?));
    };
    let writes = parts(&with_line_end(part.content), boundary)?
        .iter()
        .map(|part| {
            let request = operation(part)?;
            if request.method == Method::GET {
                let message = "A GET request is not allowed in a change set.";
                return Err(ApiError::bad_request(message));
            }
            match part.header("content-id") {
                "" => Err(ApiError::bad_request(
                    "Content-ID is required in every part of a change set.",
                )),
                id => Ok((id.to_owned(), request)),
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Item::ChangeSet(writes))
}

fn operation(part: &Part<'_>) -> Result<ApiRequest, ApiError> {
    let request = request(part)?;
    if request.url_length() > 2 * LONGEST_URL {
        return Err(ApiError::bad_request(
            "The URL of a batch operation is too long.",
        ));
    }
    Ok(request)
}

/// The last line end of a nested body was taken as part of the boundary that follows it.
fn with_line_end(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    if !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    content
}
