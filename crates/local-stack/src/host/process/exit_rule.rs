//! What the host does when the handler ends (azure-functions-host `HttpFunctionInvocationDispatcher`).

use time::{Duration, OffsetDateTime};

/// The error that stops the host.
const LIMIT: u32 = 3;
/// The count starts again only after this much time without an error.
const FORGET_AFTER: Duration = Duration::minutes(30);

/// What follows the end of a handler process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterExit {
    /// Code 0: nothing. The host believes the handler is there; every invocation fails.
    Nothing,
    /// Code 200: restart, not counted.
    Restart,
    /// Any other code, or a signal: an error, see [`CrashCounter`].
    Error,
}

/// Reads an exit code; `None` stands for a signal.
pub(crate) fn after_exit(code: Option<i32>) -> AfterExit {
    match code {
        Some(0) => AfterExit::Nothing,
        Some(200) => AfterExit::Restart,
        _ => AfterExit::Error,
    }
}

/// Counts the handler's errors within one host instance.
#[derive(Debug, Default)]
pub(crate) struct CrashCounter {
    errors: u32,
    last: Option<OffsetDateTime>,
}

impl CrashCounter {
    /// Notes an error. `true`: restart the handler at once; `false`: stop the host.
    pub(crate) fn error(&mut self, now: OffsetDateTime) -> bool {
        if self.last.is_some_and(|last| now - last > FORGET_AFTER) {
            self.errors = 0;
        }
        self.last = Some(now);
        self.errors += 1;
        self.errors < LIMIT
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn exit_codes_follow_the_hosts_rules() {
        assert_eq!(after_exit(Some(0)), AfterExit::Nothing);
        assert_eq!(after_exit(Some(200)), AfterExit::Restart);
        assert_eq!(after_exit(Some(1)), AfterExit::Error);
        assert_eq!(after_exit(None), AfterExit::Error);
    }

    #[test]
    fn the_third_error_stops_the_host_however_slowly_it_comes() {
        let mut counter = CrashCounter::default();
        let start = datetime!(2026-03-02 09:00 UTC);
        assert!(counter.error(start));
        assert!(counter.error(start + Duration::minutes(30)));
        assert!(!counter.error(start + Duration::minutes(60)));
    }

    #[test]
    fn a_gap_of_more_than_half_an_hour_forgets_earlier_errors() {
        let mut counter = CrashCounter::default();
        let start = datetime!(2026-03-02 09:00 UTC);
        assert!(counter.error(start));
        assert!(counter.error(start));
        assert!(counter.error(start + Duration::minutes(31)));
        assert!(counter.error(start + Duration::minutes(32)));
        assert!(!counter.error(start + Duration::minutes(33)));
    }
}
