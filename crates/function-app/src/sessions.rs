//! The setting SESSIONS against the trigger's own `function.json`: the two must say the same, or the host
//! would receive from a queue with sessions without one, or the other way round, and get nothing.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

/// The function whose queue may have sessions.
const FUNCTION: &str = "Outbound";

/// Checks the app in `app_root`. An app without that function only sends to the queue.
pub(crate) fn check(sessions: bool, app_root: &Path) -> anyhow::Result<()> {
    let path = app_root.join(FUNCTION).join("function.json");
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let function: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let enabled = function["bindings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
        .any(|(key, value)| {
            key.eq_ignore_ascii_case("isSessionsEnabled") && value == &Value::Bool(true)
        });
    if enabled != sessions {
        bail!(
            "setting SESSIONS is {sessions}, but isSessionsEnabled of {FUNCTION}/function.json is {enabled}: set both to true, e.g. SESSIONS=true and \"isSessionsEnabled\": true, or neither"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_contradicts_function_json_is_told_with_both_names() {
        // The folder of the shipped outbound app, whose function.json has no sessions.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../outbound-fn");
        check(false, &root).unwrap();
        let text = check(true, &root).unwrap_err().to_string();
        assert!(
            text.contains("SESSIONS is true") && text.contains("Outbound/function.json is false"),
            "{text}"
        );
    }

    #[test]
    fn an_app_that_only_sends_to_the_queue_may_have_sessions() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../inbound-fn");
        check(true, &root).unwrap();
    }
}
