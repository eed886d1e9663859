//! An error answer of Dataverse, taken apart. Pure.
//!
//! Messages are localised and reworded between releases, so they are never matched, with two exceptions
//! that have no code of their own: SQL numbers, and two deletes of one row at the same time.

use std::time::Duration;

use serde_json::Value;

use super::identities::Limit;

/// Where a throttle names no time: the docs' window is five minutes, and most throttles pass sooner.
pub(super) const UNNAMED_THROTTLE: Duration = Duration::from_secs(10);

/// Whoever asks for a longer pause is asked again after this: a header gone wrong must not silence an
/// identity for days.
const LONGEST_THROTTLE: Duration = Duration::from_secs(3600);

/// An error answer, as far as it decides anything. The text stays out of logs: it may hold row data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// `error.code` as a number; case and padding vary.
    pub code: Option<u32>,
    /// `Retry-After`, where given; at most an hour.
    pub retry_after: Option<Duration>,
    /// All values of `x-ms-service-request-id` and `REQ_ID`: what Microsoft's support asks for.
    pub request_ids: Vec<String>,
    /// Whether the message names a SQL deadlock or lost connection.
    sql_transient: bool,
    /// Whether the message says that the row is being deleted by somebody else.
    concurrent_delete: bool,
}

impl ServiceError {
    /// Reads an error answer; the body may as well be HTML or empty.
    #[must_use]
    pub fn read(
        status: u16,
        retry_after: Option<&str>,
        request_ids: Vec<String>,
        body: &[u8],
    ) -> Self {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let error = body.as_ref().and_then(|b| b.get("error"));
        let text = |key| error.and_then(|e| e.get(key)).and_then(Value::as_str);
        let code = text("code")
            .and_then(|c| c.strip_prefix("0x").or_else(|| c.strip_prefix("0X")))
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let message = text("message").unwrap_or_default();
        Self {
            status,
            code,
            retry_after: retry_after
                .and_then(|s| crate::retry_after::read(s, time::OffsetDateTime::now_utc()))
                .map(|wait| wait.min(LONGEST_THROTTLE)),
            request_ids,
            sql_transient: message.contains("Sql Number: 1205")
                || message.contains("Sql Number: 10054"),
            concurrent_delete: message.contains("More than one concurrent Delete requests"),
        }
    }

    /// Whether the row does not exist. A 404 for a wrong name is something else.
    #[must_use]
    pub fn is_row_gone(&self) -> bool {
        self.status == 404 && matches!(self.code, Some(0x8004_0217 | 0x8006_0891))
    }

    /// The service protection limit that refused the request, and how long the identity is to stay
    /// away. Any other 429 (a solution being imported) says nothing about the identity's requests.
    #[must_use]
    pub fn throttle(&self) -> Option<(Limit, Duration)> {
        let limit = match (self.code, self.status) {
            (Some(0x8007_2322 | 0x8007_2321), _) => Limit::Window,
            (Some(0x8007_2326), _) => Limit::Concurrency,
            (Some(0x8007_1151), _) => return None,
            (_, 429) => Limit::Window,
            _ => return None,
        };
        Some((limit, self.retry_after.unwrap_or(UNNAMED_THROTTLE)))
    }

    /// Whether the database chose this request as the victim of a deadlock, or lost its connection.
    #[must_use]
    pub fn is_deadlock(&self) -> bool {
        self.code == Some(0x8004_4150) && self.sql_transient
    }

    /// Whether the database ran out of time, so that fewer rows may work.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.code == Some(0x8004_4151)
    }

    /// Whether somebody else is deleting the row right now.
    #[must_use]
    pub fn is_concurrent_delete(&self) -> bool {
        self.status == 400 && self.concurrent_delete
    }

    /// Whether a precondition failed because the row changed. Other 412s say that a row with the same
    /// key is already there, or that the table knows no preconditions.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self.code {
            Some(0x8006_0882) => true,
            Some(0x8006_0883 | 0x8006_088d | 0x8006_0892 | 0x8004_0333 | 0x8004_0237) => false,
            _ => self.status == 412,
        }
    }

    /// Whether a change-tracking token is too old, so that everything has to be read anew.
    #[must_use]
    pub fn is_expired_token(&self) -> bool {
        self.code == Some(0x8004_4352)
    }
}
