//! Correlation filters: a list of properties that must all equal what the filter says.

use std::collections::BTreeMap;

use serde_amqp::Value;

use super::subject::Subject;
use crate::bus::queue::message::{CONTENT_TYPE, CORRELATION_ID, GROUP_ID, MESSAGE_ID, SUBJECT};
use crate::bus::wire::values;

/// What a message must carry. Text is compared by its characters, case included; application
/// properties by value *and* type, as .NET's `Equals` does: the `int` 1 is not the `long` 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CorrelationFilter {
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// Its message id.
    pub message_id: Option<String>,
    /// Its `to`.
    pub to: Option<String>,
    /// Its `reply-to`.
    pub reply_to: Option<String>,
    /// Its subject, once called label.
    pub label: Option<String>,
    /// Its session id.
    pub session_id: Option<String>,
    /// Its reply-to session id.
    pub reply_to_session_id: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
    /// Its application properties.
    pub properties: BTreeMap<String, Value>,
}

impl CorrelationFilter {
    /// The conditions on system properties, by their position in the properties section.
    fn fields(&self) -> [(Option<&String>, usize); 8] {
        [
            (self.correlation_id.as_ref(), CORRELATION_ID),
            (self.message_id.as_ref(), MESSAGE_ID),
            (self.to.as_ref(), 2),
            (self.reply_to.as_ref(), 4),
            (self.label.as_ref(), SUBJECT),
            (self.session_id.as_ref(), GROUP_ID),
            (self.reply_to_session_id.as_ref(), 12),
            (self.content_type.as_ref(), CONTENT_TYPE),
        ]
    }

    /// Whether it asks for nothing, which the service does not take.
    pub(super) fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.fields().iter().all(|(wanted, _)| wanted.is_none())
    }

    pub(super) fn matches(&self, subject: &Subject) -> bool {
        let has_fields = self.fields().into_iter().all(|(wanted, position)| {
            wanted.is_none_or(|wanted| subject.text_field(position).as_ref() == Some(wanted))
        });
        has_fields
            && self
                .properties
                .iter()
                .all(|(name, wanted)| subject.user(name).is_some_and(|found| same(found, wanted)))
    }
}

/// Symbols and strings are one type to .NET; all others keep apart.
fn same(found: &Value, wanted: &Value) -> bool {
    match (values::text(found), values::text(wanted)) {
        (Some(found), Some(wanted)) => found == wanted,
        _ => found == wanted,
    }
}
