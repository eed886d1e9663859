//! The deadline of an invocation against the host's own limits in `host.json`.
//!
//! When the host's functionTimeout ends one invocation, it kills the process and everything else in
//! it; when lock renewal ends, the message is delivered a second time while the first is still worked
//! on. Both must be out of reach.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// What may still happen after the deadline: the acknowledgement and the settlement, each bounded by
/// the Service Bus client's own time-out, and some air.
pub const AFTERWARDS: Duration = Duration::from_secs(100);

/// A limit of `host.json` that an invocation could reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithinReach {
    /// Its key.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// The longest deadline that it leaves room for.
    pub longest_deadline: Duration,
}

/// Checks that no invocation can reach the host's limits.
pub(crate) fn check(deadline: Duration, app_root: &Path) -> anyhow::Result<()> {
    let path = app_root.join("host.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let host: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    for (key, value) in limits(&host) {
        if !value.starts_with('-') && time_span(&value).is_none() {
            bail!("host.json: {key} is {value:?}, which is no time span, e.g. \"00:10:00\"");
        }
    }
    if let Some(limit) = within_reach(deadline, &host).first() {
        bail!(
            "setting INVOCATION_DEADLINE_SECONDS is {} s, but host.json's {} is {}: the deadline needs {} s to spare, e.g. INVOCATION_DEADLINE_SECONDS={}",
            deadline.as_secs(),
            limit.key,
            limit.value,
            AFTERWARDS.as_secs(),
            limit.longest_deadline.as_secs().max(1)
        );
    }
    Ok(())
}

/// The limits of this `host.json` that an invocation with this deadline could reach.
#[must_use]
pub fn within_reach(deadline: Duration, host: &Value) -> Vec<WithinReach> {
    let mut reached = Vec::new();
    for (key, value) in limits(host) {
        // -1 and -00:00:00.0010000 mean without end.
        let limit = if value.starts_with('-') {
            None
        } else {
            time_span(&value)
        };
        if let Some(limit) = limit.filter(|limit| deadline + AFTERWARDS > *limit) {
            reached.push(WithinReach {
                key,
                value,
                longest_deadline: limit.saturating_sub(AFTERWARDS),
            });
        }
    }
    reached
}

fn limits(host: &Value) -> [(&'static str, String); 2] {
    let renewal = &host["extensions"]["serviceBus"]["maxAutoLockRenewalDuration"];
    [
        ("functionTimeout", &host["functionTimeout"]),
        ("extensions.serviceBus.maxAutoLockRenewalDuration", renewal),
    ]
    .map(|(key, value)| (key, value.as_str().unwrap_or("00:05:00").to_owned()))
}

/// `hh:mm:ss` or `d.hh:mm:ss`, as .NET writes a TimeSpan; fractions are cut off.
fn time_span(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let (first, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let number = |text: &str| text.parse::<u64>().ok();
    let seconds = seconds.split('.').next()?;
    let hours = number(days)? * 24 + number(hours)?;
    Some(Duration::from_secs(
        (hours * 60 + number(minutes)?) * 60 + number(seconds)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_host_json_leaves_room_for_the_default_deadline() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        check(Duration::from_secs(120), &root).unwrap();
        let text = check(Duration::from_secs(501), &root)
            .unwrap_err()
            .to_string();
        assert!(text.contains("functionTimeout is 00:10:00"), "{text}");
        assert!(text.ends_with("INVOCATION_DEADLINE_SECONDS=500"), "{text}");
    }

    #[test]
    fn time_spans_are_read_as_dotnet_writes_them() {
        assert_eq!(time_span("00:10:00"), Some(Duration::from_secs(600)));
        assert_eq!(
            time_span("1.02:03:04.5000000"),
            Some(Duration::from_secs(93_784))
        );
        assert_eq!(time_span("10"), None);
    }
}
