//! Letters as text, for people.

use std::fmt::Write as _;

use dead_letters::{Group, Letter, Place, Wanted};
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
            let reason = group.reason.as_deref().unwrap_or("no reason");
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
                out::line(format_args!("         {description}"));
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
    let reason = letter.reason.as_deref().unwrap_or("no reason");
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
        out::line(format_args!("    {description}"));
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

pub(super) fn count(letters: u64) -> String {
    match letters {
        0 => "none".to_owned(),
        1 => "1 dead letter".to_owned(),
        many => format!("{many} dead letters"),
    }
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
    text
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
    format!("  ({})", each.join(", "))
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
    each.join(", ")
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
