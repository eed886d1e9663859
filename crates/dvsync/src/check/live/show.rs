//! The lines, for people.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

use super::line::{Line, Outcome};
use crate::out;

/// How things look; plain where nobody would see colours.
struct Look {
    system: Style,
    good: Style,
    bad: Style,
    grey: Style,
}

impl Look {
    fn new() -> Self {
        let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let style = |style: Style| if coloured { style } else { Style::new() };
        Self {
            system: style(Style::new().bold()),
            good: style(AnsiColor::Green.on_default()),
            bad: style(AnsiColor::Red.on_default()),
            grey: style(AnsiColor::BrightBlack.on_default()),
        }
    }
}

/// Prints them, system by system, and how many there are of each kind.
pub(super) fn lines(lines: &[Line]) {
    let look = Look::new();
    let Look {
        system,
        good,
        bad,
        grey,
    } = &look;
    let mut before = "";
    let (mut fine, mut wrong, mut unknown) = (0, 0, 0);
    for line in lines {
        if line.system != before {
            out::line(format_args!("{system}{}{system:#}", line.system));
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
