//! Logs: JSON lines on stdout inside a Functions host, readable lines on a terminal.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, filter_fn};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// A level, or levels by module: `info`, or `info,sync_core::dataverse=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level(String);

/// Text that is no [`Level`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a level (off, error, warn, info, debug, trace), or levels by module: number {number} in the list is neither"
)]
pub struct NoLevel {
    /// From 1. Not its text: what somebody put into the wrong setting by mistake may be a secret.
    number: usize,
}

impl Level {
    /// Reads one.
    ///
    /// # Errors
    /// [`NoLevel`], for the first directive that is none.
    pub fn parse(text: &str) -> Result<Self, NoLevel> {
        let directives: Vec<_> = text.split(',').map(str::trim).collect();
        for (at, directive) in directives.iter().enumerate() {
            // The filter takes any word for the name of a module.
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            let known = ["off", "error", "warn", "info", "debug", "trace"]
                .contains(&level.to_ascii_lowercase().as_str());
            let blank = directive.contains(char::is_whitespace);
            if !known || blank || EnvFilter::try_new(directive).is_err() {
                return Err(NoLevel { number: at + 1 });
            }
        }
        Ok(Self(directives.join(",")))
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
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in [
            "info",
            "WARN",
            "info,sync_core=debug",
            "warn, sync_core::queue=off",
        ] {
            assert!(Level::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "verbose",
            "info,loud",
            "sync_core=loud",
            "info,",
            "sync core=info",
        ] {
            assert!(Level::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_has_the_level_that_is_set_for_it_and_the_others_theirs() {
        let level = Level::parse("warn,sync_core::dataverse=debug").unwrap();
        let subscriber = tracing_subscriber::registry().with(level.filter());
        tracing::subscriber::with_default(subscriber, || {
            assert!(
                tracing::enabled!(target: "sync_core::dataverse::client", tracing::Level::DEBUG)
            );
            assert!(!tracing::enabled!(target: "sync_core::dataverse", tracing::Level::TRACE));
            assert!(!tracing::enabled!(target: "sync_core::queue", tracing::Level::INFO));
            assert!(tracing::enabled!(target: "sync_core::queue", tracing::Level::WARN));
        });
    }
}
