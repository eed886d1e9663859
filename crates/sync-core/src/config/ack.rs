//! The integration's own columns on a source table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The integration's own columns on a source table. None of them may trigger a notification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AckColumns {
    /// The row's key in the target.
    pub target_id: String,
    /// 0 none, 1 delivered, 2 deleted, 3 rejected.
    pub state: String,
    /// Newest version a delivered snapshot was acknowledged at, decimal text.
    pub version: String,
    /// Why the last notification was rejected; null when it was not.
    pub error: String,
    /// When the target's answer was processed.
    pub acknowledged_on: String,
    /// Hash of the delivered payload.
    pub payload_hash: String,
    /// Correlation id of the change.
    pub correlation_id: String,
}

impl Default for AckColumns {
    fn default() -> Self {
        Self {
            target_id: "dvs_targetid".into(),
            state: "dvs_ackstate".into(),
            version: "dvs_ackversion".into(),
            error: "dvs_ackerror".into(),
            acknowledged_on: "dvs_ackon".into(),
            payload_hash: "dvs_ackhash".into(),
            correlation_id: "dvs_correlationid".into(),
        }
    }
}

impl AckColumns {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&str; 7] {
        self.named().map(|(_, column)| column)
    }

    /// All of them, each after its key in the file.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &str); 7] {
        [
            ("targetId", &self.target_id),
            ("state", &self.state),
            ("version", &self.version),
            ("error", &self.error),
            ("acknowledgedOn", &self.acknowledged_on),
            ("payloadHash", &self.payload_hash),
            ("correlationId", &self.correlation_id),
        ]
    }
}
