//! The lines, for people.

use super::line::{Line, Outcome};
use crate::look::Look;
use crate::out;

/// Prints them, system by system, and how many there are of each kind.
pub(super) fn lines(lines: &[Line]) {
    let Look {
        head,
        good,
        bad,
        grey,
    } = Look::new();
    let mut before = "";
    let (mut fine, mut wrong, mut unknown) = (0, 0, 0);
    for line in lines {
        if line.system != before {
            out::line(format_args!("{head}{}{head:#}", line.system));
            before = line.system;
        }
        let check = &line.check;
        match &line.outcome {
            Outcome::Ok { detail } => {
                fine += 1;
                out::line(format_args!(
                    "  {good}ok{good:#}           {check}: {detail}"
                ));
            }
            Outcome::Wrong { code, problem, fix } => {
                wrong += 1;
                out::line(format_args!(
                    "  {bad}{code}{bad:#}  {check}: {problem}\n                 {good}fix:{good:#} {fix}"
                ));
            }
            Outcome::NotChecked { why } => {
                unknown += 1;
                out::line(format_args!("  {grey}not checked  {check}: {why}{grey:#}"));
            }
        }
    }
    out::line(format_args!(
        "\n{fine} ok, {wrong} wrong, {unknown} not checked"
    ));
}
