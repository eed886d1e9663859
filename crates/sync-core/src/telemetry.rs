//! Logs: JSON lines on stdout inside a Functions host, readable lines on a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets up logging for the process. The level comes from `LOG_LEVEL` (e.g. `info`, or
/// `info,sync_core=debug`).
///
/// Stdout, never stderr: the host logs every line of stderr as an error.
pub fn init(level: Option<&str>) {
    let filter =
        EnvFilter::try_new(level.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stdout);
    // A second call in one process keeps the first set-up.
    let _ = if std::io::stdout().is_terminal() {
        builder.try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
}

/// Sets up logging for a command-line tool, whose stdout belongs to its results.
pub fn init_stderr(level: &str) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(level));
    let _ = builder
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
