//! Printing results. A reader that went away (`| head`) is no error and no reason to panic.

use std::io::Write;

/// Prints a line.
pub(crate) fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
}

/// Prints without a line break, at once.
pub(crate) fn part(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}
