//! The way into this module's readers of answers for the target in `fuzz/`, which switches them on with the
//! feature `fuzzing`.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::{Builder, Runtime};

use super::answer::ServiceError;
use super::client::{lesson, request_ids};
use super::identities::{Identities, Kind, Lesson};
use super::request::Good;
use super::{RequestLimit, batch, changes, classify, merge, query};
use crate::failure::Stage;

static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().ok()
});

/// Reads `data` as each kind of answer: a status, headers up to an empty line, a body.
pub fn answer(data: &[u8]) {
    let Some((first, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let status = 100 + u16::from_le_bytes(*first) % 900;
    let (head, body) = match rest.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (&rest[..0], rest),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(&line[..at]),
            HeaderValue::from_bytes(&line[at + 1..]),
        ) {
            headers.append(name, value);
        }
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let error = ServiceError::read(status, text("retry-after"), request_ids(&headers), body);
    drop(classify(&error, Stage::Fetch, "GET accounts"));
    learn(lesson(&Err(error)));
    let json = || serde_json::from_slice(body).ok();
    drop(json().and_then(query::page));
    drop(json().and_then(|body| merge::read(body, "accountid")));
    drop(json().and_then(|body| changes::read(&body)));
    if let (Some(kind), Some(runtime)) = (text("content-type"), &*RUNTIME) {
        let body = Bytes::copy_from_slice(body);
        runtime.block_on(async { batch::read(kind, body).await });
    }
    let body = Bytes::new();
    learn(lesson(&Ok(Good { headers, body })));
}

/// What a governor makes of it.
fn learn(lesson: Lesson) {
    let Some(runtime) = &*RUNTIME else { return };
    runtime.block_on(async {
        let wait = Duration::from_secs(1);
        let identities = Identities::new(vec!["app".into()], RequestLimit::default(), wait);
        if let Ok(permit) = identities.admit(Kind::Read, Stage::Fetch).await {
            permit.end(lesson);
        }
        let next = identities.admit(Kind::Read, Stage::Fetch).await;
        drop(next);
    });
}
