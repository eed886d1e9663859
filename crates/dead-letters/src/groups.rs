//! Dead letters by why they were given up: what an operator looks at first. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use crate::letter::Letter;

/// Letters of one queue that were given up for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Where.
    pub queue: String,
    /// Why: `DeadLetterReason`.
    pub reason: Option<String>,
    /// The failure's code.
    pub code: Option<String>,
    /// Its stage.
    pub stage: Option<String>,
    /// Its HTTP status.
    pub status: Option<i64>,
    /// How many.
    pub letters: u64,
    /// How many of each table.
    pub tables: BTreeMap<String, u64>,
    /// How many whose table is not known, since the body cannot be read.
    pub unreadable: u64,
    /// When the first was enqueued.
    #[serde(with = "time::serde::rfc3339")]
    pub first: OffsetDateTime,
    /// When the last was.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
    /// The newest of them.
    pub newest: Letter,
}

type Why = (
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
);

/// Groups letters as they come: memory is one letter a group.
#[derive(Debug, Default)]
pub struct Groups(BTreeMap<Why, Group>);

impl Groups {
    /// Counts a letter.
    pub fn add(&mut self, letter: Letter) {
        let why = (
            letter.queue.clone(),
            letter.reason.clone(),
            letter.code.clone(),
            letter.stage.clone(),
            letter.status,
        );
        let group = self.0.entry(why).or_insert_with(|| Group {
            queue: letter.queue.clone(),
            reason: letter.reason.clone(),
            code: letter.code.clone(),
            stage: letter.stage.clone(),
            status: letter.status,
            letters: 0,
            tables: BTreeMap::new(),
            unreadable: 0,
            first: letter.enqueued,
            last: letter.enqueued,
            newest: letter.clone(),
        });
        group.letters += 1;
        match &letter.table {
            Some(table) => *group.tables.entry(table.clone()).or_default() += 1,
            None => group.unreadable += 1,
        }
        group.first = group.first.min(letter.enqueued);
        if letter.enqueued >= group.last {
            group.last = letter.enqueued;
            group.newest = letter;
        }
    }

    /// The groups, by queue, the largest first.
    #[must_use]
    pub fn finish(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        // Stable: equal ones stay in the order of their reasons.
        groups.sort_by(|a, b| (&a.queue, b.letters).cmp(&(&b.queue, a.letters)));
        groups
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wanted::tests::letter;

    #[test]
    fn letters_are_grouped_by_why_and_the_largest_group_is_first() {
        let mut groups = Groups::default();
        let later = |seconds| letter().enqueued + Duration::from_secs(seconds);
        groups.add(letter());
        for (number, enqueued) in [(8, later(9)), (9, later(5))] {
            groups.add(Letter {
                number,
                enqueued,
                status: Some(422),
                table: (number == 8).then(|| "contact".into()),
                ..letter()
            });
        }
        let groups = groups.finish();
        assert_eq!(groups.len(), 2);
        let largest = &groups[0];
        assert_eq!((largest.letters, largest.status), (2, Some(422)));
        assert_eq!((largest.first, largest.last), (later(5), later(9)));
        assert_eq!(largest.newest.number, 8);
        assert_eq!(largest.tables, BTreeMap::from([("contact".to_owned(), 1)]));
        assert_eq!(largest.unreadable, 1);
    }
}
