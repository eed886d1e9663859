//! Which dead letters are meant. Pure.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::letter::Letter;

/// What a letter must be to be meant: everything that is given. By default all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// One of these numbers.
    pub numbers: BTreeSet<i64>,
    /// Given up for one of these: reason or code, in any case of letters.
    pub reasons: Vec<String>,
    /// In one of these stages.
    pub stages: Vec<String>,
    /// With one of these HTTP statuses.
    pub statuses: Vec<i64>,
    /// About a row of one of these tables.
    pub tables: Vec<String>,
    /// About one of these rows.
    pub rows: Vec<Uuid>,
    /// Of one of these changes.
    pub correlation_ids: Vec<String>,
    /// Enqueued at that time or later.
    pub since: Option<OffsetDateTime>,
    /// Enqueued before that time.
    pub until: Option<OffsetDateTime>,
}

impl Wanted {
    /// Whether all letters are meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this one is.
    #[must_use]
    pub fn has(&self, letter: &Letter) -> bool {
        (self.numbers.is_empty() || self.numbers.contains(&letter.number))
            && (one_of(&self.reasons, letter.reason.as_deref())
                || one_of(&self.reasons, letter.code.as_deref()))
            && one_of(&self.stages, letter.stage.as_deref())
            && (self.statuses.is_empty()
                || letter.status.is_some_and(|it| self.statuses.contains(&it)))
            && one_of(&self.tables, letter.table.as_deref())
            && (self.rows.is_empty() || letter.row.is_some_and(|it| self.rows.contains(&it)))
            && one_of(&self.correlation_ids, letter.correlation_id.as_deref())
            && self.since.is_none_or(|time| letter.enqueued >= time)
            && self.until.is_none_or(|time| letter.enqueued < time)
    }
}

fn one_of(wanted: &[String], is: Option<&str>) -> bool {
    wanted.is_empty() || is.is_some_and(|is| wanted.iter().any(|one| one.eq_ignore_ascii_case(is)))
}

#[cfg(test)]
pub(crate) mod tests {
    use time::macros::datetime;

    use super::*;

    pub(crate) fn letter() -> Letter {
        Letter {
            queue: "outbound".into(),
            number: 7,
            message_id: Some("m-7".into()),
            correlation_id: Some("c-7".into()),
            table: Some("account".into()),
            row: Some(Uuid::from_u128(7)),
            reason: Some("RetriesExhausted".into()),
            description: Some("Ask the target's owner.".into()),
            stage: Some("deliver".into()),
            code: Some("TargetUnavailable".into()),
            status: Some(503),
            retries: 12,
            failed_before: None,
            enqueued: datetime!(2026-03-02 09:15:30 UTC),
            resend_id: None,
        }
    }

    #[test]
    fn everything_that_is_given_must_fit() {
        let given = |change: fn(&mut Wanted)| {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            assert!(!wanted.is_everything());
            wanted.has(&letter())
        };
        assert!(Wanted::default().is_everything() && Wanted::default().has(&letter()));
        assert!(given(|it| it.reasons = vec!["retriesexhausted".into()]));
        assert!(given(
            |it| it.reasons = vec!["Other".into(), "TargetUnavailable".into()]
        ));
        assert!(!given(|it| it.reasons = vec!["RejectedByTarget".into()]));
        assert!(given(|it| it.stages = vec!["deliver".into()]));
        assert!(!given(|it| it.stages = vec!["fetch".into()]));
        assert!(given(|it| it.statuses = vec![502, 503]));
        assert!(!given(|it| it.statuses = vec![422]));
        assert!(given(|it| it.tables = vec!["account".into()]));
        assert!(!given(|it| it.tables = vec!["contact".into()]));
        assert!(given(|it| it.rows = vec![Uuid::from_u128(7)]));
        assert!(!given(|it| it.rows = vec![Uuid::from_u128(8)]));
        assert!(given(|it| it.correlation_ids = vec!["C-7".into()]));
        assert!(given(|it| it.numbers = BTreeSet::from([6, 7])));
        assert!(!given(|it| it.numbers = BTreeSet::from([6])));
        assert!(given(
            |it| it.since = Some(datetime!(2026-03-02 09:15:30 UTC))
        ));
        assert!(!given(
            |it| it.until = Some(datetime!(2026-03-02 09:15:30 UTC))
        ));
        assert!(!given(|it| {
            it.tables = vec!["account".into()];
            it.statuses = vec![422];
        }));
    }

    #[test]
    fn a_letter_that_does_not_say_is_not_meant_by_who_asks() {
        let silent = Letter {
            table: None,
            status: None,
            reason: None,
            code: None,
            ..letter()
        };
        let tables = Wanted {
            tables: vec!["account".into()],
            ..Wanted::default()
        };
        let reasons = Wanted {
            reasons: vec!["TargetUnavailable".into()],
            ..Wanted::default()
        };
        assert!(!tables.has(&silent) && !reasons.has(&silent));
    }
}
