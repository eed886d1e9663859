//! Asking for a page, and narrowing a page that failed down to the row that is to blame.

use std::ops::Range;
use std::time::Duration;

use tokio::time::sleep;

use super::{PageFailure, Pages};
use crate::failure::{Class, Failure};

/// Before a page that was lost is asked for once more.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers by position, and whether fewer rows might have been better.
///
/// A page that fails for a reason that may lie in one row is asked for again in halves. That is bounded:
/// finding one row among n costs about `2 log2 n` requests, and where far more than one row fails it is
/// not the rows.
///
/// A page that is lost, or refused for a reason that may pass, is asked for once more. One blip would
/// otherwise fail all its rows at once, which looks like an outage. Reads, conditional writes and bulk
/// updates may all be repeated.
pub(in crate::dataverse) async fn ask_all<P: Pages>(
    pages: &P,
    ticket: P::Ticket,
    asks: &[P::Ask],
) -> (Vec<Result<P::Answer, Failure>>, bool) {
    let mut answers: Vec<Option<Result<P::Answer, Failure>>> = Vec::new();
    answers.resize_with(asks.len(), || None);
    let mut ticket = Some(ticket);
    let mut halvings = 2 * (asks.len().max(1).ilog2() + 1);
    let mut too_large = false;
    let mut once_more = true;
    let mut groups: Vec<Range<usize>> = Vec::from([Range {
        start: 0,
        end: asks.len(),
    }]);
    while let Some(group) = groups.pop() {
        let admitted = match ticket.take() {
            Some(ticket) => Ok(ticket),
            None => pages.admit().await.map_err(PageFailure::of_all),
        };
        let called = match admitted {
            Ok(ticket) => pages.call(ticket, &asks[group.clone()]).await,
            Err(failure) => Err(failure),
        };
        match called {
            Ok(given) => {
                for (slot, answer) in answers[group].iter_mut().zip(given) {
                    *slot = Some(answer);
                }
            }
            Err(e) if e.divisible && group.len() > 1 && halvings > 0 => {
                halvings -= 1;
                too_large |= e.too_large;
                let middle = group.start + group.len() / 2;
                groups.push(middle..group.end);
                groups.push(group.start..middle);
            }
            Err(e) if once_more && group.len() > 1 && e.failure.class == Class::Transient => {
                once_more = false;
                too_large |= e.too_large;
                sleep(PAUSE).await;
                groups.push(group);
            }
            Err(e) => {
                too_large |= e.too_large;
                let failure = everybodys(e, group.len());
                answers[group].fill_with(|| Some(Err(failure.clone())));
            }
        }
    }
    let missing = |answer: Option<_>| answer.unwrap_or_else(|| Err(unanswered()));
    (answers.into_iter().map(missing).collect(), too_large)
}

/// The failure of a group that is not divided any further. What may be the fault of one of several rows
/// must not be the end of them all.
fn everybodys(e: PageFailure, rows: usize) -> Failure {
    let mut failure = e.failure;
    if e.divisible && rows > 1 && failure.class == Class::Permanent {
        failure.class = Class::Transient;
        failure.code = "DataversePageRefused";
    }
    failure
}

fn unanswered() -> Failure {
    let text = "Dataverse answered a page of rows, but not for this one.";
    Failure::transient(crate::failure::Stage::Fetch, "DataversePageLost", text)
}
