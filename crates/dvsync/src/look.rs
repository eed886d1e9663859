//! How text for people looks on a terminal; plain where nobody would see colours.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// Styles by what they are for.
pub(crate) struct Look {
    /// What the lines below are about.
    pub(crate) head: Style,
    pub(crate) good: Style,
    pub(crate) bad: Style,
    /// Less important.
    pub(crate) grey: Style,
}

impl Look {
    /// As standard output is.
    pub(crate) fn new() -> Self {
        let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let style = |style: Style| if coloured { style } else { Style::new() };
        Self {
            head: style(Style::new().bold()),
            good: style(AnsiColor::Green.on_default()),
            bad: style(AnsiColor::Red.on_default()),
            grey: style(AnsiColor::BrightBlack.on_default()),
        }
    }
}
