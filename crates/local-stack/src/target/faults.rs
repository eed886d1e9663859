//! What goes wrong at the target, on purpose.

use serde::{Deserialize, Serialize};

/// Scripted faults. Rates are probabilities per call, 0 to 1; at most one fault hits a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Seed of the chance; setting faults starts the sequence anew.
    pub seed: u64,
    /// Answers 500, nothing applied.
    pub rate_500: f64,
    /// Answers 429, nothing applied.
    pub rate_429: f64,
    /// `Retry-After` of a 429, seconds.
    pub retry_after_s: u64,
    /// Holds the answer back, nothing applied.
    pub rate_timeout_before_apply: f64,
    /// Applies, then holds the answer back: the caller cannot know that it worked.
    pub rate_timeout_after_apply: f64,
    /// Takes its time, and applies when the caller has long given up.
    pub rate_timeout_late_apply: f64,
    /// How late that is, milliseconds.
    pub late_ms: u64,
    /// How long an answer is held back before a 504 goes out, milliseconds.
    pub hold_ms: u64,
    /// Resets the connection, nothing applied.
    pub rate_reset_before_apply: f64,
    /// Applies, then resets the connection.
    pub rate_reset_after_apply: f64,
    /// Time every call takes, milliseconds.
    pub latency_ms: u64,
    /// Every answer is this much longer than it need be, bytes.
    pub padding_bytes: usize,
    /// Rates count for calls that change something only.
    pub writes_only: bool,
    /// Refusals repeat what was sent: a 422 the row's name in code, field and message, a 500 the whole
    /// request in an HTML page, as a careless system does.
    pub echo: bool,
    /// The whole system is down.
    pub down: Down,
}

/// How a target is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    /// It is up.
    #[default]
    No,
    /// Every call is answered 503.
    Unavailable,
    /// Every call's connection is reset.
    Reset,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            rate_500: 0.0,
            rate_429: 0.0,
            retry_after_s: 1,
            rate_timeout_before_apply: 0.0,
            rate_timeout_after_apply: 0.0,
            rate_timeout_late_apply: 0.0,
            late_ms: 2_500,
            hold_ms: 60_000,
            rate_reset_before_apply: 0.0,
            rate_reset_after_apply: 0.0,
            latency_ms: 0,
            padding_bytes: 0,
            writes_only: false,
            echo: false,
            down: Down::No,
        }
    }
}

/// The fault that hits one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Unavailable,
    ServerError,
    Throttled,
    Timeout(When),
    Reset(When),
}

/// When the call is applied, seen from the moment its caller stops waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Never: the answer is withheld before anything is done.
    Before,
    /// At once, and then the answer is withheld.
    After,
    /// Later than the caller waits.
    Late,
}

impl Faults {
    pub(super) fn draw(&self, dice: &mut crate::dice::Dice, writes: bool) -> Fault {
        match self.down {
            Down::Unavailable => return Fault::Unavailable,
            Down::Reset => return Fault::Reset(When::Before),
            Down::No if self.writes_only && !writes => return Fault::None,
            Down::No => {}
        }
        let drawn = dice.pick(&[
            self.rate_500,
            self.rate_429,
            self.rate_timeout_before_apply,
            self.rate_timeout_after_apply,
            self.rate_reset_before_apply,
            self.rate_reset_after_apply,
            self.rate_timeout_late_apply,
        ]);
        match drawn {
            Some(0) => Fault::ServerError,
            Some(1) => Fault::Throttled,
            Some(2) => Fault::Timeout(When::Before),
            Some(3) => Fault::Timeout(When::After),
            Some(4) => Fault::Reset(When::Before),
            Some(5) => Fault::Reset(When::After),
            Some(6) => Fault::Timeout(When::Late),
            _ => Fault::None,
        }
    }
}
