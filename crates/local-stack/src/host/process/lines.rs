//! The host's log: the handler's output and the host's own words, with a bounded memory.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How many of the newest lines are kept.
const KEPT: usize = 2000;

/// A line of a handler's output that begins with this is a system log of the host.
const SYSTEM_LOG: &str = "LanguageWorkerConsoleLog";

/// Who wrote a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineSource {
    /// The handler's standard output: level Information.
    Stdout,
    /// The handler's standard error: level Error, or Warning when the line contains "warn".
    Stderr,
    /// The `Logs` of an answer, under the function's category: level Information.
    Function(String),
    /// The host itself.
    Host,
}

/// Severity, as the host would log the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineLevel {
    /// For the record.
    Information,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}

/// One line of the host's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Who wrote it.
    pub source: LineSource,
    /// How severe it is.
    pub level: LineLevel,
    /// What it says, without a line break.
    pub text: String,
}

/// Called for each line, in order; it must not block.
pub type LineSink = Arc<dyn Fn(&LogLine) + Send + Sync>;

/// Where the lines go: to the callback, to `tracing`, and into memory.
#[derive(Clone)]
pub(crate) struct Log {
    kept: Arc<Mutex<VecDeque<LogLine>>>,
    sink: Option<LineSink>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(sink: Option<LineSink>) -> Self {
        Self {
            kept: Arc::default(),
            sink,
        }
    }

    pub(crate) fn host(&self, level: LineLevel, text: impl Into<String>) {
        self.write(LineSource::Host, level, text.into());
    }

    pub(crate) fn stdout(&self, text: String) {
        // The handler speaks as the host: its line is no user log.
        if let Some(rest) = text.strip_prefix(SYSTEM_LOG) {
            self.host(LineLevel::Information, rest.trim_start());
            return;
        }
        self.write(LineSource::Stdout, LineLevel::Information, text);
    }

    pub(crate) fn stderr(&self, text: String) {
        let level = if text.to_ascii_lowercase().contains("warn") {
            LineLevel::Warning
        } else {
            LineLevel::Error
        };
        self.write(LineSource::Stderr, level, text);
    }

    pub(crate) fn function(&self, function: &str, text: String) {
        self.write(
            LineSource::Function(function.to_owned()),
            LineLevel::Information,
            text,
        );
    }

    fn write(&self, source: LineSource, level: LineLevel, text: String) {
        let line = LogLine {
            source,
            level,
            text,
        };
        match (&line.source, line.level) {
            // A log that is shown elsewhere as it is must not count as this process's own trouble.
            (LineSource::Host, LineLevel::Error | LineLevel::Warning) => {
                tracing::warn!(target: "functions_host", "{}", line.text);
            }
            (LineSource::Host, LineLevel::Information) => {
                tracing::debug!(target: "functions_host", "{}", line.text);
            }
            _ => tracing::debug!(target: "functions_host::handler", "{}", line.text),
        }
        if let Some(sink) = &self.sink {
            sink(&line);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }

    /// The newest lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }

    /// The last few lines of standard error, which the host attaches to a crash.
    pub(crate) fn last_stderr(&self, count: usize) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = kept
            .iter()
            .rev()
            .filter(|line| line.source == LineSource::Stderr);
        let mut texts: Vec<&str> = stderr.take(count).map(|line| line.text.as_str()).collect();
        texts.reverse();
        texts.join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_an_error_unless_it_says_warning() {
        let log = Log::new(None);
        log.stdout("warn".to_owned());
        log.stderr("Warning: low".to_owned());
        log.stderr("boom".to_owned());
        let levels: Vec<_> = log.lines().iter().map(|line| line.level).collect();
        assert_eq!(
            levels,
            [LineLevel::Information, LineLevel::Warning, LineLevel::Error]
        );
        assert_eq!(log.last_stderr(3), "Warning: low | boom");
    }

    #[test]
    fn a_line_marked_as_a_system_log_is_the_hosts_own() {
        let log = Log::new(None);
        log.stdout("LanguageWorkerConsoleLog started".to_owned());
        let lines = log.lines();
        assert_eq!(lines[0].source, LineSource::Host);
        assert_eq!(lines[0].text, "started");
    }

    #[test]
    fn only_the_newest_lines_are_kept_but_the_callback_sees_all() {
        let seen = Arc::new(Mutex::new(0));
        let sink: LineSink = {
            let seen = Arc::clone(&seen);
            Arc::new(move |_| *seen.lock().unwrap() += 1)
        };
        let log = Log::new(Some(sink));
        for number in 0..KEPT + 5 {
            log.stdout(number.to_string());
        }
        assert_eq!(log.lines().len(), KEPT);
        assert_eq!(log.lines()[0].text, "5");
        assert_eq!(*seen.lock().unwrap(), KEPT + 5);
    }
}
