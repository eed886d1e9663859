//! What an answer of the target means, where the built-in reading does not fit it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Findings;

/// What an answer means for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AnswerClass {
    /// May work later: counted and tried again.
    Transient,
    /// Too many calls: tried again without counting, after `Retry-After` where the answer has one.
    Throttled,
    /// Will never work for this row: dead-lettered at once.
    Permanent,
    /// Works for no row until somebody repairs the app.
    Config,
    /// As good as a success.
    Accepted,
}

/// Answers by status, or by status and the `code` member of the body: `"423"`, `"422:duplicate-key"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<String, AnswerClass>);

impl From<BTreeMap<String, AnswerClass>> for Answers {
    fn from(answers: BTreeMap<String, AnswerClass>) -> Self {
        Self(answers)
    }
}

impl Answers {
    /// What an answer means, if this says so. A status with a code wins over the status alone.
    #[must_use]
    pub fn of(&self, status: u16, code: Option<&str>) -> Option<AnswerClass> {
        let exact = code.and_then(|code| self.0.get(&format!("{status}:{code}")));
        exact.or_else(|| self.0.get(&status.to_string())).copied()
    }

    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        for key in self.0.keys() {
            let (status, code) = key
                .split_once(':')
                .map_or((&**key, None), |(s, c)| (s, Some(c)));
            let is_status = status.len() == 3
                && status
                    .parse::<u16>()
                    .is_ok_and(|status| (200..600).contains(&status));
            if !is_status || code == Some("") {
                findings.add(
                    key,
                    "is no answer, which would be a status, or a status and a code, e.g. \"423\", \"422:duplicate-key\"",
                );
            }
        }
    }
}
