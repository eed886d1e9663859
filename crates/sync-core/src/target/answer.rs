//! What an answer of the target means. Pure.

use std::time::Duration;

use serde_json::Value;

use super::call::{Answer, Body};
use crate::config::{AnswerClass, Answers, Success, TableConfig};
use crate::failure::{Failure, Stage};
use crate::snapshot::RowKey;

/// What the call was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Write the row, wherever it may be.
    Write,
    /// Ask for the target's id of the row.
    Find,
    /// Create a row that was not found.
    Create,
    /// Change a row that was found.
    Update,
    /// Delete the row.
    Delete,
}

/// What is needed to understand an answer.
pub(super) struct Asked<'a> {
    pub(super) table: &'a TableConfig,
    pub(super) row: &'a RowKey,
    pub(super) purpose: Purpose,
    pub(super) success: &'a Success,
    /// Answers that mean something else than usual, for all tables.
    pub(super) answers: &'a Answers,
    /// How long a call may take that a gateway gave up waiting for.
    pub(super) timeout: Duration,
    /// What the target refuses with 401: "API key".
    pub(super) proof: &'a str,
    /// What was sent: none of it is repeated.
    pub(super) sent: Option<&'a Value>,
}

/// A good answer.
#[derive(Debug, PartialEq)]
pub(super) enum Taken<'a> {
    /// Done, as the body says.
    Done(Option<&'a Value>),
    /// The target has no such row.
    NoRow,
}

impl Asked<'_> {
    pub(super) fn read<'a>(&self, answer: &'a Answer) -> Result<Taken<'a>, Failure> {
        let status = answer.status;
        let body = answer.body.json();
        let said = said(body, self.sent);
        let code = said.code.as_deref();
        let own = self.table.target.answers.of(status, code);
        let result = match own.or_else(|| self.answers.of(status, code)) {
            Some(AnswerClass::Accepted) => Ok(Taken::Done(body)),
            Some(class) => Err(self.told(class, answer, &said)),
            None => self.usual(answer, &said),
        };
        // A gateway gave up, the system behind it perhaps not: as good as no answer.
        result.map_err(|failure| match status {
            408 | 502 | 504 if self.purpose != Purpose::Find => {
                failure.with_status(status).lingering(self.timeout)
            }
            _ => failure.with_status(status),
        })
    }

    /// The meaning that the configuration gives.
    fn told(&self, class: AnswerClass, answer: &Answer, said: &Said) -> Failure {
        let (row, status) = (self.row, answer.status);
        match class {
            AnswerClass::Throttled => self.throttled(answer),
            AnswerClass::Permanent => self.refused(status, said),
            AnswerClass::Config => {
                let text = format!(
                    "The target answered {status}{said} to {row}, which means by `answers` in the sync file that the set-up is wrong. Repair the target, or the app's settings."
                );
                Failure::config(Stage::Deliver, "TargetMisconfigured", text)
            }
            AnswerClass::Transient | AnswerClass::Accepted => self.busy(status, said),
        }
    }

    fn usual<'a>(&self, answer: &'a Answer, said: &Said) -> Result<Taken<'a>, Failure> {
        let (row, table, status) = (self.row, &self.table.name, answer.status);
        let finding = self.purpose == Purpose::Find;
        let failure = match status {
            204 if finding => return Ok(Taken::NoRow),
            status if self.success.is(status) => return self.good(answer),
            // It is gone, or was never there.
            404 | 410 if finding || self.purpose == Purpose::Delete => return Ok(Taken::NoRow),
            404 | 410 if self.purpose == Purpose::Update => {
                let text = format!(
                    "The target found {row}, and then had no such row ({status}). It is looked for again."
                );
                Failure::transient(Stage::Deliver, "TargetRowGone", text)
            }
            // The version guard of the target: it holds something newer, so there is nothing to add. The
            // look after the delivery finds the newer version and delivers that.
            409 if said.code.as_deref() == Some("older-version") => return Ok(Taken::Done(None)),
            200..=299 => {
                let text = format!(
                    "The target answered {status} to {row}, which is none of the statuses in `success` of tables.{table}.target. Add it there, or to `answers`."
                );
                Failure::config(Stage::Deliver, "TargetUnexpectedStatus", text)
            }
            429 => self.throttled(answer),
            401 | 403 => {
                let text = format!(
                    "The target refused the {} ({status}). Check the secret in Key Vault and target.auth in the sync file.",
                    self.proof
                );
                Failure::config(Stage::Deliver, "TargetUnauthorized", text)
            }
            300..=399 | 404 | 405 | 407 => {
                let text = format!(
                    "The target does not answer at this address ({status}). Check TARGET_URL and tables.{table}.target in the sync file."
                );
                Failure::config(Stage::Deliver, "TargetUnknownAddress", text)
            }
            408 | 409 | 425 => self.busy(status, said),
            503 if answer.retry_after.is_some() => {
                let text =
                    format!("The target is unavailable while taking {row}, and said for how long.");
                let wait = answer.retry_after.unwrap_or_default();
                Failure::throttled(Stage::Deliver, "TargetUnavailable", wait, text)
            }
            500..=599 => {
                let text = format!("The target failed while taking {row} ({status}).");
                Failure::transient(Stage::Deliver, "TargetFailed", text)
            }
            _ => self.refused(status, said),
        };
        Err(failure)
    }

    fn good<'a>(&self, answer: &'a Answer) -> Result<Taken<'a>, Failure> {
        let (row, table) = (self.row, &self.table.name);
        match (&answer.body, self.purpose) {
            // For every row, most likely, so that the backlog has to wait for the fix: as a permanent
            // failure it would end in the dead-letter queue, though the target most likely took the
            // changes. When they are made again, they carry the same version.
            (Body::TooLong, _) => {
                let text = format!(
                    "The target answered {} to {row}, but more than target.maxResponseBytes allows; it has probably done what it was asked. Raise that in the sync file, or have the target answer less.",
                    answer.status
                );
                Err(Failure::config(Stage::Deliver, "TargetAnswerTooLong", text))
            }
            // A page of some proxy, say. Read as "no such row", it would be created a second time.
            (Body::Other, Purpose::Find) => {
                let text = format!(
                    "The target was asked for {row}, and answered {} without JSON. Check tables.{table}.target.find.path in the sync file if this lasts.",
                    answer.status
                );
                Err(Failure::transient(Stage::Deliver, "TargetBadAnswer", text))
            }
            (body, _) => Ok(Taken::Done(body.json())),
        }
    }

    fn throttled(&self, answer: &Answer) -> Failure {
        let wait = answer.retry_after.unwrap_or(Duration::from_secs(5));
        let text = format!("The target asked to slow down while taking {}.", self.row);
        Failure::throttled(Stage::Deliver, "TargetThrottled", wait, text)
    }

    fn busy(&self, status: u16, said: &Said) -> Failure {
        let text = format!(
            "The target could not take {} right now ({status}{said}).",
            self.row
        );
        Failure::transient(Stage::Deliver, "TargetBusy", text)
    }

    fn refused(&self, status: u16, said: &Said) -> Failure {
        let text = format!(
            "The target refused {} ({status}{said}). Correct the row in Dynamics 365 and save it, which sends it again; or correct the target's rule, then resend this message.",
            self.row
        );
        Failure::permanent(Stage::Deliver, "RejectedByTarget", text)
    }
}

/// The machine-readable part of a refusal: its `code` and `field`. Its prose may quote the row.
#[derive(Default)]
struct Said {
    /// To be compared.
    code: Option<String>,
    /// To be repeated: code and field.
    shown: [Option<String>; 2],
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in ["code", "field"].iter().zip(&self.shown) {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

fn said(body: Option<&Value>, sent: Option<&Value>) -> Said {
    // Only what looks like a name: free text in a member called code may be anything.
    let name = |key| {
        let text = body?.get(key)?.as_str()?;
        let is_name = !text.is_empty()
            && text.len() <= 64
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-/[]".contains(c));
        is_name.then(|| text.to_owned())
    };
    // And a row's value may look like a name.
    let shown = |key| name(key).filter(|text| !sent.is_some_and(|sent| repeats(text, sent)));
    Said {
        code: name("code"),
        shown: [shown("code"), shown("field")],
    }
}

/// Shorter values are found by chance in many a word.
const TELLING: usize = 4;

/// Whether `text` is, or holds, one of the values in `sent`.
fn repeats(text: &str, sent: &Value) -> bool {
    let is_in = |value: &str| {
        let (text, value) = (text.to_lowercase(), value.to_lowercase());
        text == value || value.len() >= TELLING && text.contains(&value)
    };
    match sent {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => is_in(&number.to_string()),
        Value::String(value) => is_in(value),
        Value::Array(values) => values.iter().any(|value| repeats(text, value)),
        Value::Object(members) => members.values().any(|value| repeats(text, value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::config::SyncConfig;
    use crate::failure::Class;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Ok: what was done, with its id.
    fn with(
        change: impl FnOnce(&mut Value),
        purpose: Purpose,
        status: u16,
        body: Body,
    ) -> Result<Option<String>, Failure> {
        let mut sync: Value = serde_json::from_str(include_str!("../../../../sync.json")).unwrap();
        change(&mut sync);
        let config = SyncConfig::parse(&sync.to_string(), "sync.json").unwrap();
        let table = &config.tables["account"];
        let sent = json!({"name": "Fabrikam", "rank": 4711, "nested": {"codes": ["AB-1", "X"]}});
        let row = RowKey {
            table: "account".into(),
            id: Uuid::nil(),
        };
        let asked = Asked {
            table,
            row: &row,
            purpose,
            success: &table.target.write.success,
            answers: &config.target.answers,
            timeout: TIMEOUT,
            proof: "API key",
            sent: Some(&sent),
        };
        let answer = Answer {
            status,
            retry_after: None,
            body,
        };
        asked.read(&answer).map(|taken| match taken {
            Taken::Done(body) => body.and_then(|body| table.target.id.id_in(body)),
            Taken::NoRow => Some("no row".into()),
        })
    }

    fn answer(purpose: Purpose, status: u16, body: Value) -> Result<Option<String>, Failure> {
        with(|_| {}, purpose, status, Body::Json(body))
    }

    #[test]
    fn a_rejection_is_permanent_and_names_code_and_field_but_not_the_prose() {
        let body = json!({"code": "name-empty", "field": "name", "message": "SECRET is bad"});
        let failure = answer(Purpose::Write, 422, body).unwrap_err();
        assert_eq!(
            (failure.class, failure.status),
            (Class::Permanent, Some(422))
        );
        assert!(
            failure
                .message
                .contains("(422, code name-empty, field name)"),
            "{failure}"
        );
        assert!(!failure.message.contains("SECRET"));
        let body = json!({"code": "SECRET text with blanks"});
        let failure = answer(Purpose::Write, 400, body).unwrap_err();
        assert!(!failure.message.contains("SECRET"));
    }

    #[test]
    fn a_code_or_field_that_repeats_what_was_sent_is_left_out() {
        let shown = |code: &str, field: &str| {
            let body = json!({"code": code, "field": field});
            answer(Purpose::Write, 422, body).unwrap_err().message
        };
        for repeated in [
            "Fabrikam",
            "fabrikam",
            "duplicate-fabrikam",
            "4711",
            "AB-1",
            "X",
        ] {
            let text = shown(repeated, repeated);
            assert!(text.contains("(422)"), "{text}");
        }
        assert!(shown("taken", "rank").contains("(422, code taken, field rank)"));
        assert!(shown("Fabrikam", "name").contains("(422, field name)"));
    }

    #[test]
    fn a_row_that_is_not_there_is_a_delivered_delete_a_find_without_result_and_a_lost_update() {
        let no_row = Ok(Some("no row".to_owned()));
        for purpose in [Purpose::Delete, Purpose::Find] {
            assert_eq!(answer(purpose, 404, Value::Null), no_row);
        }
        let class = |purpose| answer(purpose, 404, Value::Null).unwrap_err().class;
        assert_eq!(class(Purpose::Update), Class::Transient);
        assert_eq!(class(Purpose::Write), Class::Config);
        assert_eq!(class(Purpose::Create), Class::Config);
    }

    #[test]
    fn a_target_that_holds_something_newer_is_no_failure_but_another_conflict_is_retried() {
        assert!(answer(Purpose::Write, 409, json!({"code": "older-version"})).is_ok());
        let failure = answer(Purpose::Write, 409, Value::Null).unwrap_err();
        assert_eq!(failure.class, Class::Transient);
    }

    #[test]
    fn what_a_gateway_gave_up_on_may_still_take_effect_and_what_the_target_answered_may_not() {
        let lingers = |status| {
            let failure = answer(Purpose::Write, status, Value::Null).unwrap_err();
            failure.lingers
        };
        assert_eq!(lingers(504), Some(TIMEOUT));
        assert_eq!(lingers(502), Some(TIMEOUT));
        assert_eq!(lingers(500), None);
        assert_eq!(lingers(409), None);
    }

    #[test]
    fn ids_may_be_text_or_numbers() {
        let id = |v| answer(Purpose::Write, 200, json!({ "id": v })).unwrap();
        assert_eq!(id(json!("C-1")).as_deref(), Some("C-1"));
        assert_eq!(id(json!(7)).as_deref(), Some("7"));
    }

    #[test]
    fn the_sync_file_can_give_an_answer_another_meaning_for_all_tables_or_for_one() {
        let body = || Body::Json(json!({"code": "duplicate-key", "id": "C-9"}));
        let read = |target: Value, table: Value, status| {
            let change = |sync: &mut Value| {
                sync["target"]["answers"] = target;
                sync["tables"]["account"]["target"]["answers"] = table;
            };
            with(change, Purpose::Write, status, body())
        };
        let class = |answers, status| read(answers, json!({}), status).unwrap_err().class;
        assert_eq!(class(json!({"422": "transient"}), 422), Class::Transient);
        assert_eq!(class(json!({"400": "config"}), 400), Class::Config);
        assert_eq!(class(json!({"500": "permanent"}), 500), Class::Permanent);
        assert_eq!(
            class(json!({"420": "throttled"}), 420),
            Class::Throttled {
                retry_after: Duration::from_secs(5)
            }
        );
        // A target that says 200 and means no.
        let answers = json!({"200:duplicate-key": "permanent"});
        assert_eq!(class(answers, 200), Class::Permanent);
        let accepted = read(json!({"422:duplicate-key": "accepted"}), json!({}), 422);
        assert_eq!(accepted, Ok(Some("C-9".into())));
        // The table's word wins.
        let both = read(json!({"422": "accepted"}), json!({"422": "transient"}), 422);
        assert_eq!(both.unwrap_err().class, Class::Transient);
    }

    #[test]
    fn a_good_status_that_is_not_listed_waits_for_a_person() {
        let only = |sync: &mut Value| {
            sync["tables"]["account"]["target"]["success"] = json!([200]);
        };
        let failure = with(only, Purpose::Write, 202, Body::Other).unwrap_err();
        assert_eq!(failure.class, Class::Config);
        assert!(failure.message.contains("tables.account.target"));
    }

    #[test]
    fn an_answer_that_is_too_long_waits_for_a_person_unless_its_status_says_enough() {
        let read = |status| with(|_| {}, Purpose::Write, status, Body::TooLong).unwrap_err();
        let failure = read(200);
        assert_eq!(failure.class, Class::Config);
        assert!(failure.message.contains("target.maxResponseBytes"));
        assert_eq!(read(500).class, Class::Transient);
        assert_eq!(read(422).class, Class::Permanent);
    }

    #[test]
    fn a_find_that_is_answered_without_json_is_no_word_about_the_row() {
        let failure = with(|_| {}, Purpose::Find, 200, Body::Other).unwrap_err();
        assert_eq!(failure.class, Class::Transient);
        let found = with(|_| {}, Purpose::Find, 204, Body::Other);
        assert_eq!(found, Ok(Some("no row".into())));
    }
}
