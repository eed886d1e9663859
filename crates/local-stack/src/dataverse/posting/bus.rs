//! Posting over AMQP, with this workspace's Service Bus client.
//!
//! The real plug-in posts over HTTPS ("Send Message", Azure Service Bus REST); the message that
//! arrives is the same.

use std::error::Error;

use async_trait::async_trait;
use serde_json::Value;
use service_bus::{Client, OutgoingMessage};

use super::{NotificationSender, OutboundNotification, PostFailed};

/// Sends notifications to one queue or topic.
#[derive(Debug, Clone)]
pub struct BusSender {
    client: Client,
    entity: String,
    sessions: bool,
}

impl BusSender {
    /// A sender to `entity` over `client`.
    pub fn new(client: Client, entity: impl Into<String>) -> Self {
        Self {
            client,
            entity: entity.into(),
            sessions: false,
        }
    }

    /// Whether each notification goes into the session of its row, `{table}:{rowId}`. A native event
    /// names its row elsewhere and has none, as in Azure: an entity with sessions refuses it.
    #[must_use]
    pub fn with_sessions(mut self, sessions: bool) -> Self {
        self.sessions = sessions;
        self
    }
}

#[async_trait]
impl NotificationSender for BusSender {
    async fn post(&self, notification: OutboundNotification) -> Result<(), PostFailed> {
        let session = self.sessions.then(|| session_id(&notification.body));
        let mut message = OutgoingMessage::new(notification.body);
        message.session_id = session.flatten();
        message.message_id = Some(notification.message_id);
        message.correlation_id = Some(notification.correlation_id);
        message.content_type = Some("application/json".to_owned());
        for (name, value) in notification.properties {
            message.properties.insert(name, value.as_str().into());
        }
        let sent = self.client.send(&self.entity, message).await;
        sent.map_err(|error| PostFailed(chain(&error)))
    }
}

fn session_id(notification: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(notification).ok()?;
    let (table, row) = (json["table"].as_str()?, json["sourceRowId"].as_str()?);
    Some(format!("{table}:{row}"))
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
    let causes = causes.map(|cause| format!(": {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect()
}
