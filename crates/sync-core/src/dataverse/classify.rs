//! What an error answer means for a message: **code first, then status**. Pure.
//!
//! Codes and statuses: Power Apps docs, "Compose HTTP requests and handle errors", "Service protection
//! API limits", "Web service error codes"; support articles "Dataverse plug-ins errors", "Bulk operation
//! errors", "Web API client errors". Whatever is not known: a 4xx will not get better, a 5xx may.

use std::time::Duration;

use super::answer::{ServiceError, UNNAMED_THROTTLE};
use crate::failure::{Class, Failure, Stage};

/// What an answer means: class, stable code, and a sentence for who has to act.
type Verdict = (Class, &'static str, &'static str);

/// Turns an error answer into a failure of `stage`, naming what was asked for.
#[must_use]
pub fn classify(error: &ServiceError, stage: Stage, asked: &str) -> Failure {
    let (class, code, advice) = by_code(error).unwrap_or_else(|| by_status(error));
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

fn transient(code: &'static str, advice: &'static str) -> Verdict {
    (Class::Transient, code, advice)
}

fn permanent(code: &'static str, advice: &'static str) -> Verdict {
    (Class::Permanent, code, advice)
}

fn config(code: &'static str, advice: &'static str) -> Verdict {
    (Class::Config, code, advice)
}

fn throttled(
    error: &ServiceError,
    unnamed: Duration,
    code: &'static str,
    advice: &'static str,
) -> Verdict {
    let retry_after = error.retry_after.unwrap_or(unnamed);
    (Class::Throttled { retry_after }, code, advice)
}

const LIMIT: &str = "A service protection limit; obeyed.";
const PRIVILEGE: &str =
    "The app user lacks a privilege. Give its role the right, then resend the message.";
const UNKNOWN_NAME: &str = "A table or column named in sync.json does not exist in this environment. Run dvsync check, repair sync.json, deploy.";
const NO_CONCURRENCY: &str =
    "Optimistic concurrency is off for this table. Turn it on: acknowledgements rely on it.";
const VALUE: &str =
    "A value does not fit its column. Repair the mapping or the row, then resend the message.";

fn by_code(e: &ServiceError) -> Option<Verdict> {
    Some(match e.code? {
        0x8007_2322 => throttled(e, UNNAMED_THROTTLE, "DataverseRequestLimit", LIMIT),
        0x8007_2321 => throttled(e, UNNAMED_THROTTLE, "DataverseTimeLimit", LIMIT),
        0x8007_2326 => throttled(e, UNNAMED_THROTTLE, "DataverseConcurrencyLimit", LIMIT),
        0x8007_1151 => throttled(
            e,
            Duration::from_secs(120),
            "DataverseSolutionLock",
            "A solution operation is running.",
        ),
        0x8004_4150 if e.is_deadlock() => {
            transient("DataverseDeadlock", "A database deadlock; retried.")
        }
        0x8004_4151 => transient("DataverseSqlTimeout", "A database time-out; retried."),
        0x8004_0255 => transient(
            "DataverseRolledBack",
            "The transaction was rolled back; retried.",
        ),
        0x8004_0216 | 0x8004_418d | 0x8004_0224 => transient(
            "DataverseUnexpected",
            "An unexpected error inside Dataverse; retried.",
        ),
        0x8004_0265 => permanent(
            "DataversePluginError",
            "A plug-in of this environment threw. Look at its trace log with the request id, repair it, then resend the message.",
        ),
        0x8004_0220 | 0x8004_8306 | 0x8004_0231 | 0x8004_8405 => {
            permanent("DataversePrivilege", PRIVILEGE)
        }
        0x8006_0888 | 0x8006_088a => config("DataverseUnknownName", UNKNOWN_NAME),
        // The documented form of the same; other statuses carry this code for other reasons.
        0 if matches!(e.status, 400 | 404) => config("DataverseUnknownName", UNKNOWN_NAME),
        0x8004_8d19 => permanent(
            "DataverseBadPayload",
            "Dataverse refused the written columns. Check the acknowledgement columns in sync.json against the table.",
        ),
        0x8004_4331 | 0x8004_431a | 0x8004_0203 | 0x8009_0429 => {
            permanent("DataverseBadValue", VALUE)
        }
        0x8004_0217 | 0x8006_0891 => permanent("DataverseRowGone", "The row does not exist."),
        0x8006_0882 => transient("DataverseConflict", "The row changed in between; retried."),
        0x8006_0883 | 0x8006_088d => config("DataverseNoConcurrency", NO_CONCURRENCY),
        0x8006_0892 | 0x8004_0333 | 0x8004_0237 => permanent(
            "DataverseDuplicate",
            "A row with the same key is already there.",
        ),
        0x8004_4352 => permanent(
            "DataverseChangesExpired",
            "The change-tracking token is too old; everything has to be read anew.",
        ),
        _ => return None,
    })
}

fn by_status(e: &ServiceError) -> Verdict {
    match e.status {
        400 if e.is_concurrent_delete() => transient(
            "DataverseConcurrentDelete",
            "Somebody else is deleting the row; retried.",
        ),
        401 => config(
            "DataverseUnauthorized",
            "The token was refused. Check that the identity is an application user of this environment and that DATAVERSE_URL is right.",
        ),
        403 => permanent("DataversePrivilege", PRIVILEGE),
        404 => config(
            "DataverseUnknownName",
            "The address is not one of this environment. Check DATAVERSE_URL and sync.json.",
        ),
        408 => transient("DataverseTimeout", "Retried."),
        412 => transient("DataverseConflict", "The row changed in between; retried."),
        413 => permanent(
            "DataverseTooLarge",
            "What was sent is too large for Dataverse.",
        ),
        429 => throttled(e, UNNAMED_THROTTLE, "DataverseThrottled", LIMIT),
        501 => permanent(
            "DataverseNotImplemented",
            "This environment cannot do that.",
        ),
        500..=599 => match e.retry_after {
            Some(retry_after) => (
                Class::Throttled { retry_after },
                "DataverseUnavailable",
                "Told when to come back; obeyed.",
            ),
            None => transient("DataverseUnavailable", "Retried."),
        },
        _ => permanent(
            "DataverseRefused",
            "Retrying cannot help; look the code up, then resend the message.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(status: u16, code: &str, message: &str) -> ServiceError {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
        ServiceError::read(status, Some("37"), vec!["r-1".into()], body.as_bytes())
    }

    /// Every row of the table of answers, without `Retry-After`.
    #[test]
    fn each_answer_has_its_class() {
        use Class::{Config as C, Permanent as P, Transient as R};
        let throttled = |seconds| Class::Throttled {
            retry_after: Duration::from_secs(seconds),
        };
        let rows: &[(u16, &[&str], &str, Class, &str)] = &[
            (401, &[""], "", C, "DataverseUnauthorized"),
            (
                403,
                &["0x80040220", "0x80048306", "0x80040231", "0x80048405", ""],
                "",
                P,
                "DataversePrivilege",
            ),
            (
                404,
                &["0x80040217", "0x80060891"],
                "",
                P,
                "DataverseRowGone",
            ),
            (
                404,
                &["0x80060888", "0x8006088a", "0x0", ""],
                "",
                C,
                "DataverseUnknownName",
            ),
            (
                400,
                &["0x80060888", "0x8006088A", "0x0"],
                "",
                C,
                "DataverseUnknownName",
            ),
            (400, &["0x80048d19"], "", P, "DataverseBadPayload"),
            (
                400,
                &["0x80044331", "0x8004431A", "0x80040203", "0x80090429"],
                "",
                P,
                "DataverseBadValue",
            ),
            (400, &["0x80040265"], "", P, "DataversePluginError"),
            (
                400,
                &["", "0x8004fffe"],
                "More than one concurrent Delete requests detected for an Entity",
                R,
                "DataverseConcurrentDelete",
            ),
            (
                400,
                &["0x80040216", "0x8004418d", "0x80040224"],
                "",
                R,
                "DataverseUnexpected",
            ),
            (
                500,
                &["0x80040216", "0x8004418d", "0x80040224"],
                "",
                R,
                "DataverseUnexpected",
            ),
            (405, &["0x0", ""], "", P, "DataverseRefused"),
            (408, &["0x0", ""], "", R, "DataverseTimeout"),
            (412, &["0x80060882", ""], "", R, "DataverseConflict"),
            (
                412,
                &["0x80060883", "0x8006088D"],
                "",
                C,
                "DataverseNoConcurrency",
            ),
            (
                412,
                &["0x80060892", "0x80040333", "0x80040237"],
                "",
                P,
                "DataverseDuplicate",
            ),
            (413, &["0x0", ""], "", P, "DataverseTooLarge"),
            (
                429,
                &["0x80072322"],
                "",
                throttled(10),
                "DataverseRequestLimit",
            ),
            (
                429,
                &["0x80072321"],
                "",
                throttled(10),
                "DataverseTimeLimit",
            ),
            (
                429,
                &["0x80072326"],
                "",
                throttled(10),
                "DataverseConcurrencyLimit",
            ),
            (
                429,
                &["0x80071151"],
                "",
                throttled(120),
                "DataverseSolutionLock",
            ),
            (
                429,
                &["", "0x8004ffff"],
                "",
                throttled(10),
                "DataverseThrottled",
            ),
            (
                500,
                &["0x80044150"],
                "x Sql Number: 1205",
                R,
                "DataverseDeadlock",
            ),
            (
                500,
                &["0x80044150"],
                "x Sql Number: 10054",
                R,
                "DataverseDeadlock",
            ),
            (
                500,
                &["0x80044150"],
                "x Sql Number: 547",
                R,
                "DataverseUnavailable",
            ),
            (500, &["0x80044151"], "", R, "DataverseSqlTimeout"),
            (500, &["0x80040255"], "", R, "DataverseRolledBack"),
            (
                500,
                &["", "0x8004ffff", "0x0"],
                "",
                R,
                "DataverseUnavailable",
            ),
            (501, &["0x0", ""], "", P, "DataverseNotImplemented"),
            (502, &[""], "", R, "DataverseUnavailable"),
            (503, &[""], "", R, "DataverseUnavailable"),
            (504, &[""], "", R, "DataverseUnavailable"),
            (400, &["0x80044352"], "", P, "DataverseChangesExpired"),
            (400, &["", "0x8004fffe"], "", P, "DataverseRefused"),
        ];
        for (status, codes, message, class, expected) in rows {
            for code in *codes {
                let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
                let e = ServiceError::read(*status, None, vec![], body.as_bytes());
                let failure = classify(&e, Stage::Fetch, "GET accounts");
                assert_eq!(
                    (failure.class, failure.code),
                    (*class, *expected),
                    "{status} {code} {message}"
                );
                assert_eq!(failure.status, Some(*status));
            }
        }
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
    fn a_retry_after_beyond_reason_is_an_hour() {
        let body = br#"{"error":{"code":"0x80072322","message":""}}"#;
        let e = ServiceError::read(429, Some("18446744073709551615"), vec![], body);
        let hour = Duration::from_secs(3600);
        assert_eq!(e.throttle().map(|(_, wait)| wait), Some(hour));
        let class = classify(&e, Stage::Fetch, "x").class;
        assert_eq!(class, Class::Throttled { retry_after: hour });
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

    #[test]
    fn only_an_etag_that_lost_is_a_conflict() {
        assert!(error(412, "0x80060882", "").is_conflict());
        assert!(error(412, "", "").is_conflict());
        for code in ["0x80060883", "0x80060892", "0x80040333", "0x80040237"] {
            assert!(!error(412, code, "").is_conflict(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(
            status in 100u16..1000,
            retry_after in prop::option::of("[ -~]{0,30}"),
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[{}\\[\\]\",:errocdmsag0x8 \\\\]{0,80}".prop_map(String::into_bytes),
                "\\{\"error\":\\{\"code\":\"0[xX][0-9a-fA-F]{0,12}\",\"message\":\"[ -!#-Z]{0,20}\"\\}\\}".prop_map(String::into_bytes),
            ],
        ) {
            let e = ServiceError::read(status, retry_after.as_deref(), vec![], &body);
            let _: Failure = classify(&e, Stage::Fetch, "x");
            let _: (bool, bool, Option<_>) = (e.is_row_gone(), e.is_conflict(), e.throttle());
        }
    }
}
