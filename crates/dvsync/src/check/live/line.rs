//! One line of the result.

use serde::Serialize;

/// One check and what came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    /// What it is about, e.g. `Service Bus`.
    pub(super) system: &'static str,
    /// What was looked at, e.g. `outbound: receive`.
    pub(super) check: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// What came of a check.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub(super) enum Outcome {
    /// It is as it should be.
    Ok {
        /// What was seen.
        detail: String,
    },
    /// It is not.
    Wrong {
        /// Always the same for the same mistake.
        code: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        fix: String,
    },
    /// Nobody knows.
    NotChecked {
        /// Why.
        why: String,
    },
}

impl Outcome {
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong { .. })
    }
}

/// Makes the lines of one system.
#[derive(Debug, Clone, Copy)]
pub(super) struct System(pub(super) &'static str);

impl System {
    pub(super) fn ok(self, check: impl Into<String>, detail: impl Into<String>) -> Line {
        let detail = detail.into();
        self.line(check, Outcome::Ok { detail })
    }

    pub(super) fn wrong(
        self,
        check: impl Into<String>,
        code: &'static str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Line {
        let (problem, fix) = (problem.into(), fix.into());
        self.line(check, Outcome::Wrong { code, problem, fix })
    }

    pub(super) fn not_checked(self, check: impl Into<String>, why: impl Into<String>) -> Line {
        let why = why.into();
        self.line(check, Outcome::NotChecked { why })
    }

    fn line(self, check: impl Into<String>, outcome: Outcome) -> Line {
        Line {
            system: self.0,
            check: check.into(),
            outcome,
        }
    }
}
