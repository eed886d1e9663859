//! Letters as text, for people.

use std::fmt::Write as _;

use dead_letters::{End, Group, Letter, Outcome, Place, Wanted};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::look::Look;
use crate::out;

/// Prints how many there are and why, queue by queue.
pub(super) fn groups(places: &[Place], groups: &[Group]) {
    let Look {
        head, bad, grey, ..
    } = Look::new();
    for place in places {
        let own: Vec<&Group> = groups
            .iter()
            .filter(|it| it.queue == place.name())
            .collect();
        let letters: u64 = own.iter().map(|it| it.letters).sum();
        out::line(format_args!(
            "{head}{}{head:#}: {}",
            place.name(),
            count(letters)
        ));
        for group in own {
            let reason = clean(group.reason.as_deref().unwrap_or("no reason"));
            out::line(format_args!(
                "{:>7}  {bad}{reason}{bad:#}{}{}  {}",
                group.letters,
                cause(
                    group.code.as_deref(),
                    group.reason.as_deref(),
                    group.stage.as_deref(),
                    group.status
                ),
                tables(group),
                span(group.first, group.last),
            ));
            if let Some(description) = &group.newest.description {
                out::line(format_args!("         {}", clean(description)));
            }
            out::line(format_args!(
                "         {grey}newest: {}{grey:#}",
                about(&group.newest)
            ));
        }
    }
}

/// Prints one.
pub(super) fn letter(letter: &Letter) {
    let Look {
        head, bad, grey, ..
    } = Look::new();
    let reason = clean(letter.reason.as_deref().unwrap_or("no reason"));
    out::line(format_args!(
        "{head}{} {}{head:#}  {bad}{reason}{bad:#}{}  {}, retries {}",
        letter.queue,
        letter.number,
        cause(
            letter.code.as_deref(),
            letter.reason.as_deref(),
            letter.stage.as_deref(),
            letter.status
        ),
        moment(letter.enqueued),
        letter.retries,
    ));
    if let Some(description) = &letter.description {
        out::line(format_args!("    {}", clean(description)));
    }
    let mut more = about(letter);
    if let Some(id) = letter.resend_id {
        let _ = write!(more, ", was resent by {id}");
    }
    out::line(format_args!("    {grey}{more}{grey:#}"));
}

/// Says that nothing was found.
pub(super) fn none(places: &[Place], wanted: &Wanted) {
    let names: Vec<_> = places.iter().map(Place::name).collect();
    let such = if wanted.is_everything() {
        ""
    } else {
        " that is meant"
    };
    out::line(format_args!("no dead letter{such} in {}", names.join(", ")));
}

/// What a person should know of how the work ended.
pub(super) fn outcome(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    if outcome.returned > 0 {
        lines.push(format!(
            "{} of those were given up again already: is the cause repaired?",
            outcome.returned
        ));
    }
    if !outcome.unfit.is_empty() {
        let numbers: Vec<_> = outcome.unfit.iter().map(i64::to_string).collect();
        lines.push(format!(
            "left where they are, numbers {}: no copy could hold all of them, since they are too large for the queue or of a kind that this program cannot write; take them with the program that sent them",
            numbers.join(", ")
        ));
    }
    let left = match outcome.end {
        End::All => None,
        End::Stopped => Some("stopped; what is not done is where it was"),
        End::Locked => Some(
            "what is left is locked by another receiver, or by a run that broke off; its lock ends within five minutes, then run this again",
        ),
        End::OutOfReach => Some(
            "there may be more behind letters that are not meant: so many that their locks end before those behind them come. Deal with the others first, or raise the queue's lock duration",
        ),
    };
    lines.extend(left.map(str::to_owned));
    lines
}

/// For machines.
pub(super) fn end(end: End) -> &'static str {
    match end {
        End::All => "all",
        End::Stopped => "stopped",
        End::Locked => "locked",
        End::OutOfReach => "outOfReach",
    }
}

pub(super) fn count(letters: u64) -> String {
    match letters {
        0 => "none".to_owned(),
        1 => "1 dead letter".to_owned(),
        many => format!("{many} dead letters"),
    }
}

/// Whoever may send to the queue wrote it: a terminal must not obey it.
fn clean(text: &str) -> String {
    let seen = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(seen).collect()
}

/// The failure, as far as the reason does not say it.
fn cause(
    code: Option<&str>,
    reason: Option<&str>,
    stage: Option<&str>,
    status: Option<i64>,
) -> String {
    let mut text = String::new();
    if let Some(code) = code.filter(|_| code != reason) {
        let _ = write!(text, " {code}");
    }
    if let Some(stage) = stage {
        let _ = write!(text, " in {stage}");
    }
    if let Some(status) = status {
        let _ = write!(text, ", HTTP {status}");
    }
    clean(&text)
}

fn tables(group: &Group) -> String {
    let mut each: Vec<String> = group
        .tables
        .iter()
        .map(|(table, letters)| format!("{table} {letters}"))
        .collect();
    if group.unreadable > 0 {
        each.push(format!("unreadable {}", group.unreadable));
    }
    clean(&format!("  ({})", each.join(", ")))
}

fn about(letter: &Letter) -> String {
    let mut each = vec![format!("number {}", letter.number)];
    if let (Some(table), Some(row)) = (&letter.table, letter.row) {
        each.push(format!("{table}:{row}"));
    }
    each.extend(
        letter
            .correlation_id
            .iter()
            .map(|id| format!("correlation {id}")),
    );
    clean(&each.join(", "))
}

fn span(first: OffsetDateTime, last: OffsetDateTime) -> String {
    if first == last {
        moment(first)
    } else {
        format!("{} to {}", moment(first), moment(last))
    }
}

/// To the second.
fn moment(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do_by_a_message() {
        assert_eq!(
            clean("a\u{1b}[2Jb\nc\u{9b}ü"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}ü"
        );
    }
}
