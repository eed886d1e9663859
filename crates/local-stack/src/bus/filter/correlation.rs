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
    /// A filter of these texts, in the order of [`CorrelationFilter::texts`].
    pub(crate) fn new(texts: [Option<String>; 8], properties: BTreeMap<String, Value>) -> Self {
        let [
            correlation_id,
            message_id,
            to,
            reply_to,
            label,
            session_id,
            reply_to_session_id,
            content_type,
        ] = texts;
        CorrelationFilter {
            correlation_id,
            message_id,
            to,
            reply_to,
            label,
            session_id,
            reply_to_session_id,
            content_type,
            properties,
        }
    }

    /// What it says of system properties, in the order in which the wire format has them.
    pub(crate) fn texts(&self) -> [Option<&String>; 8] {
        [
            self.correlation_id.as_ref(),
            self.message_id.as_ref(),
            self.to.as_ref(),
            self.reply_to.as_ref(),
            self.label.as_ref(),
            self.session_id.as_ref(),
            self.reply_to_session_id.as_ref(),
            self.content_type.as_ref(),
        ]
    }

    /// The conditions on system properties, by their position in the properties section.
    fn fields(&self) -> impl Iterator<Item = (Option<&String>, usize)> {
        let positions = [
            CORRELATION_ID,
            MESSAGE_ID,
            2,
            4,
            SUBJECT,
            GROUP_ID,
            12,
            CONTENT_TYPE,
        ];
        self.texts().into_iter().zip(positions)
    }

    /// Whether it asks for nothing, which the service does not take.
    pub(super) fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.texts().iter().all(Option::is_none)
    }

    pub(super) fn matches(&self, subject: &Subject) -> bool {
        let has_fields = self.fields().all(|(wanted, position)| {
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
