//! What an answer of Dataverse means: **code first, then status**. Pure.
//!
//! Codes and statuses: Power Apps docs, "Compose HTTP requests and handle errors", "Service protection
//! API limits", "Web service error codes". Messages are localised and reworded between releases, so
//! they are never matched, with the one documented exception of SQL numbers.

use std::time::Duration;

use serde_json::Value;

use super::identities::Limit;
use crate::failure::{Class, Failure, Stage};

/// Where a throttle names no time: the docs' window is five minutes, and most throttles pass sooner.
const UNNAMED_THROTTLE: Duration = Duration::from_secs(10);

/// An error answer, as far as it decides anything. The text stays out of logs: it may hold row data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// `error.code` as a number; case and padding vary.
    pub code: Option<u32>,
    /// `Retry-After`, where given.
    pub retry_after: Option<Duration>,
    /// All values of `x-ms-service-request-id` and `REQ_ID`: what Microsoft's support asks for.
    pub request_ids: Vec<String>,
    /// Whether the message names a SQL deadlock or lost connection.
    sql_transient: bool,
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
            // Seconds only; a date or nonsense is left to the backoff.
            retry_after: retry_after
                .and_then(|s| s.trim().parse().ok())
                .map(Duration::from_secs),
            request_ids,
            sql_transient: message.contains("Sql Number: 1205")
                || message.contains("Sql Number: 10054"),
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

    /// Whether a precondition failed because the row changed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status == 412
    }
}

/// Turns an error answer into a failure of `stage`, naming what was asked for.
#[must_use]
pub fn classify(error: &ServiceError, stage: Stage, asked: &str) -> Failure {
    let (class, code, advice) = verdict(error);
    let numbers = match error.code {
        Some(number) => format!("{} {number:#010x}", error.status),
        None => error.status.to_string(),
    };
    let ids = if error.request_ids.is_empty() {
        String::new()
    } else {
        format!(" Service request ids: {}.", error.request_ids.join(", "))
    };
    Failure::new(
        class,
        stage,
        code,
        format!("Dataverse answered {numbers} to {asked}. {advice}{ids}"),
    )
    .with_status(error.status)
}

fn verdict(e: &ServiceError) -> (Class, &'static str, &'static str) {
    let throttled = |code| {
        let retry_after = e.retry_after.unwrap_or(UNNAMED_THROTTLE);
        (
            Class::Throttled { retry_after },
            code,
            "Service protection limit; obeyed.",
        )
    };
    match (e.code.unwrap_or(0), e.status) {
        (0x8007_2322, _) => throttled("DataverseRequestLimit"),
        (0x8007_2321, _) => throttled("DataverseTimeLimit"),
        (0x8007_2326, _) => throttled("DataverseConcurrencyLimit"),
        (0x8007_1151, _) => {
            let retry_after = e.retry_after.unwrap_or(Duration::from_secs(120));
            (
                Class::Throttled { retry_after },
                "DataverseSolutionLock",
                "A solution operation is running.",
            )
        }
        (0x8004_4150, _) if e.sql_transient => (
            Class::Transient,
            "DataverseDeadlock",
            "A database deadlock; retried.",
        ),
        (0x8004_4151, _) => (
            Class::Transient,
            "DataverseSqlTimeout",
            "A database time-out; retried.",
        ),
        (0x8004_0255, _) => (
            Class::Transient,
            "DataverseRolledBack",
            "The transaction was rolled back; retried.",
        ),
        (0x8004_0216 | 0x8004_418d | 0x8004_0224, _) => (
            Class::Transient,
            "DataverseUnexpected",
            "An unexpected error inside Dataverse; retried.",
        ),
        (0x8004_0265, _) => (
            Class::Permanent,
            "DataversePluginError",
            "A plug-in of this environment threw. Look at its trace log with the request id, repair it, then resend the message.",
        ),
        (0x8004_0220 | 0x8004_8306 | 0x8004_0231 | 0x8004_8405, _) => (
            Class::Permanent,
            "DataversePrivilege",
            "The app user lacks a privilege. Give its role the right, then resend the message.",
        ),
        (0x8006_0888 | 0x8006_088a, _) => (
            Class::Config,
            "DataverseUnknownName",
            "A table or column named in sync.json does not exist in this environment. Run dvsync check, repair sync.json, deploy.",
        ),
        (0x8004_8d19, _) => (
            Class::Permanent,
            "DataverseBadPayload",
            "Dataverse refused the written columns. Check the acknowledgement columns in sync.json against the table.",
        ),
        (_, 401) => (
            Class::Config,
            "DataverseUnauthorized",
            "The token was refused. Check that the identity is an application user of this environment and that DATAVERSE_URL is right.",
        ),
        (_, 403) => (
            Class::Permanent,
            "DataversePrivilege",
            "The app user lacks a privilege. Give its role the right, then resend the message.",
        ),
        (_, 404) => (
            Class::Config,
            "DataverseUnknownName",
            "The address is not one of this environment. Check DATAVERSE_URL and sync.json.",
        ),
        (_, 408) => (Class::Transient, "DataverseTimeout", "Retried."),
        (_, 412) => (
            Class::Transient,
            "DataverseConflict",
            "The row changed in between; retried.",
        ),
        (_, 429) => throttled("DataverseThrottled"),
        (_, 501) => (
            Class::Permanent,
            "DataverseNotImplemented",
            "This environment cannot do that.",
        ),
        (_, 500..=599) => match e.retry_after {
            Some(retry_after) => (
                Class::Throttled { retry_after },
                "DataverseUnavailable",
                "Told when to come back; obeyed.",
            ),
            None => (Class::Transient, "DataverseUnavailable", "Retried."),
        },
        _ => (
            Class::Permanent,
            "DataverseRefused",
            "Retrying cannot help; look the code up, then resend the message.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, code: &str, message: &str) -> ServiceError {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
        ServiceError::read(status, Some("37"), vec!["r-1".into()], body.as_bytes())
    }

    #[test]
    fn a_missing_row_and_a_wrong_name_are_told_apart_though_both_are_404() {
        assert!(error(404, "0x80040217", "").is_row_gone());
        assert!(error(404, "0x80060891", "").is_row_gone());
        let name = error(404, "0x80060888", "");
        assert!(!name.is_row_gone());
        assert_eq!(
            classify(&name, Stage::Fetch, "GET accounts").class,
            Class::Config
        );
    }

    #[test]
    fn the_code_decides_before_the_status_and_whatever_its_case() {
        let e = error(400, "0X80072322", "");
        let failure = classify(&e, Stage::Fetch, "GET accounts");
        assert_eq!(
            failure.class,
            Class::Throttled {
                retry_after: Duration::from_secs(37)
            }
        );
        let e = error(500, "0x80044150", "Sql Number: 1205");
        assert_eq!(classify(&e, Stage::Fetch, "x").code, "DataverseDeadlock");
        assert_eq!(
            classify(&error(400, "0x80040265", "x"), Stage::Fetch, "x").class,
            Class::Permanent
        );
    }

    #[test]
    fn html_empty_and_odd_bodies_are_survived_and_never_quoted() {
        for body in [
            "<html>SECRET</html>",
            "",
            "[]",
            r#"{"Message":"SECRET"}"#,
            r#"{"error":"SECRET"}"#,
        ] {
            let e = ServiceError::read(502, None, vec![], body.as_bytes());
            let failure = classify(&e, Stage::Fetch, "GET accounts");
            assert_eq!(failure.class, Class::Transient);
            assert!(!failure.to_string().contains("SECRET"));
        }
        assert!(
            !classify(&error(400, "", "SECRET"), Stage::Fetch, "x")
                .to_string()
                .contains("SECRET")
        );
    }
}
