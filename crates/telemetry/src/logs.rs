//! Logs: JSON lines on stdout inside a Functions host, readable lines on a terminal.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, filter_fn};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// A level, or levels by target: `info`, or `info,sync_core=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level(String);

impl Level {
    /// `None` when that is no level.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The filter takes any word for the name of a target.
        let known = |part: &str| {
            let level = part.rsplit('=').next().unwrap_or_default().trim();
            ["off", "error", "warn", "info", "debug", "trace"]
                .contains(&level.to_ascii_lowercase().as_str())
        };
        let valid = text.split(',').all(known) && EnvFilter::try_new(text).is_ok();
        valid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::try_new(&self.0).unwrap_or_else(|_| EnvFilter::new("info"))
    }
}

/// Events only: a span that nobody exports costs nothing then.
pub(crate) fn events() -> FilterFn {
    filter_fn(|metadata| metadata.is_event())
}

/// Stdout, never stderr: the host logs every line of stderr as an error.
pub(crate) fn stdout<S>(level: &Level) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stdout);
    let filter = level.filter().and(events());
    if std::io::stdout().is_terminal() {
        layer.with_filter(filter).boxed()
    } else {
        let layer = layer.json().flatten_event(true);
        let layer = layer.with_current_span(false).with_span_list(false);
        layer.with_filter(filter).boxed()
    }
}

/// Sets up logging for a command-line tool, whose stdout belongs to its results.
pub fn init_stderr(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["info", "WARN", "info,sync_core=debug"] {
            assert!(Level::parse(good).is_some(), "{good}");
        }
        for bad in ["", "verbose", "info,loud", "sync_core=loud"] {
            assert!(Level::parse(bad).is_none(), "{bad}");
        }
    }
}
