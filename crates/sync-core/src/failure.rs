//! What went wrong, as one value: a class that decides, a stage that locates, a code that alerts.

use std::fmt;
use std::time::Duration;

/// Where in the way of a message a failure happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading and checking the message itself.
    Decode,
    /// Reading the latest row from Dataverse.
    Fetch,
    /// Turning the row into the target's shape.
    Map,
    /// Getting tokens or secrets.
    Credentials,
    /// Calling the target system.
    Deliver,
    /// Sending the acknowledgement, or writing it to the row.
    Acknowledge,
}

impl Stage {
    /// The stable lower-case name, as it stands in properties, logs and acknowledgements.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Fetch => "fetch",
            Self::Map => "map",
            Self::Credentials => "credentials",
            Self::Deliver => "deliver",
            Self::Acknowledge => "acknowledge",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failure means for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May work later: count the attempt, back off.
    Transient,
    /// The other side said when to come back: obey, do not count.
    Throttled {
        /// How long the other side asked us to stay away.
        retry_after: Duration,
    },
    /// The target is known to be down (its breaker is open): wait, do not count.
    TargetDown {
        /// When the next look is due.
        retry_after: Duration,
    },
    /// Waits for another row to travel first, which nothing here can speed up: wait, do not count, but
    /// not for ever.
    Waiting,
    /// Will never work for this message: dead-letter at once.
    Permanent,
    /// Will work for no message until somebody repairs the app: wait long, alert, keep the backlog.
    Config,
}

/// One failure of one attempt.
///
/// `message` is one sentence for an operator. It names keys, columns, rows and status codes, never a
/// row value, token or secret: it ends up in logs, in the dead-letter queue and on the source row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stage}: {message} [{code}]")]
pub struct Failure {
    /// What it means for the message.
    pub class: Class,
    /// Where it happened.
    pub stage: Stage,
    /// Stable, machine-readable, e.g. `RejectedByTarget`. Alerts and queries key on it.
    pub code: &'static str,
    /// One sentence a person can act on.
    pub message: String,
    /// The HTTP status behind it, where there was one.
    pub status: Option<u16>,
    /// Set when a call was sent and no answer came: it may still take effect for this long. Whoever
    /// repairs what it may overwrite has to come after it.
    pub lingers: Option<Duration>,
}

impl Failure {
    /// A failure of class [`Class::Transient`].
    pub fn transient(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Transient, stage, code, message)
    }

    /// A failure of class [`Class::Permanent`].
    pub fn permanent(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, stage, code, message)
    }

    /// A failure of class [`Class::Config`].
    pub fn config(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Config, stage, code, message)
    }

    /// A failure of class [`Class::Throttled`].
    pub fn throttled(
        stage: Stage,
        code: &'static str,
        retry_after: Duration,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Class::Throttled { retry_after }, stage, code, message)
    }

    /// A failure of any class.
    pub fn new(class: Class, stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            stage,
            code,
            message: message.into(),
            status: None,
            lingers: None,
        }
    }

    /// The same failure of a call that was sent and may still take effect within `time`.
    #[must_use]
    pub fn lingering(mut self, time: Duration) -> Self {
        self.lingers = Some(time);
        self
    }

    /// The same failure with the HTTP status that caused it.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}
