//! The rules of a subscription: which of a topic's messages reach it.

use crate::value::Properties;

/// A rule. A message reaches the subscription when any of its rules lets it in.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionRule {
    /// Its name; `$Default` for the one every new subscription has.
    pub name: String,
    /// What it lets in.
    pub filter: Filter,
    /// The SQL statement it changes those messages by.
    pub action: Option<String>,
}

/// What a rule lets in.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every message.
    True,
    /// No message.
    False,
    /// What this SQL expression is true for.
    Sql(String),
    /// Messages that have all of these values.
    Correlation(CorrelationFilter),
}

/// Values that a message must have, those that are set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CorrelationFilter {
    /// `CorrelationId`.
    pub correlation_id: Option<String>,
    /// `MessageId`.
    pub message_id: Option<String>,
    /// `To`.
    pub to: Option<String>,
    /// `ReplyTo`.
    pub reply_to: Option<String>,
    /// `Subject`, once called label.
    pub subject: Option<String>,
    /// `SessionId`.
    pub session_id: Option<String>,
    /// `ReplyToSessionId`.
    pub reply_to_session_id: Option<String>,
    /// `ContentType`.
    pub content_type: Option<String>,
    /// Application properties.
    pub properties: Properties,
}
